"""Pictures of runs without a widget library: curves, panels, figures, SVG and files."""
