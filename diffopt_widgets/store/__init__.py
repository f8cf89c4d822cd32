"""RunStore: runs in one SQLite file that survive the kernel."""

from diffopt_widgets.store.database import StoreError
from diffopt_widgets.store.logged_run import LoggedRun
from diffopt_widgets.store.logs import read_logs
from diffopt_widgets.store.run_saver import RunSaver
from diffopt_widgets.store.run_store import RunStore
from diffopt_widgets.store.run_writer import RunWriter
from diffopt_widgets.store.summary import RunSummary

__all__ = ["LoggedRun", "RunSaver", "RunStore", "RunSummary", "RunWriter", "StoreError", "read_logs"]
