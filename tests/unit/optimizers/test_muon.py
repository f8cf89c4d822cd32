"""Muon and its auxiliary Adam: who steps which tensor, at which rate, under which names; and what is refused."""

import pytest
import torch
from torch import nn

import diffopt_widgets as dw
from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.catalogue.hidden_layers import OUTER, OUTER_WORDS, hidden_by_itself
from diffopt_widgets.interop.code import to_python
from diffopt_widgets.settings import Settings, SettingsError

KEYS = [key for key in list_optimizers() if spec(key).auxiliary]


class Model(nn.Module):
    """A little of everything: an embedding, a convolution, two blocks, a norm and a head."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.embed = nn.Embedding(6, 8)
            self.conv = nn.Conv2d(1, 4, 3)
            self.blocks = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))
            self.norm = nn.LayerNorm(8)
            self.head = nn.Linear(8, 3)

    def gradients(self, step):
        for i, p in enumerate(self.parameters()):
            p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(100 * step + i)).to(p.dtype)


HIDDEN = ["conv.weight", "blocks.0.weight", "blocks.1.weight"]


def built(key, model, params=None, **values):
    return dw.build_optimizer(Settings(key, **values), model.named_parameters() if params is None else params)


def taken(optimizer, model):
    """The names of what Muon steps."""
    names = {p: name for name, p in model.named_parameters()}
    return [names[p] for group in optimizer.param_groups if group["use_muon"] for p in group["params"]]


def path(key, *, grouped="", steps=4, params=None, **values):
    """Where some steps lead: every weight by name."""
    model = Model()
    given = [{"params": list(model.named_parameters()), "name": grouped}] if grouped else None
    if params is not None:
        given = [pair for pair in model.named_parameters() if pair[0] in params]
    optimizer = built(key, model, given, **values)
    for step in range(steps):
        model.gradients(step)
        optimizer.step()
    return {name: p.detach() for name, p in model.named_parameters()}


def moved_apart(one, other):
    """The names of the tensors that two paths lead to different places."""
    return [name for name in one if not torch.equal(one[name], other[name])]


# ---------------------------------------------------------------------------------------------------- who steps what


@pytest.mark.parametrize("key", KEYS)
def test_muon_takes_the_hidden_matrices_and_adam_the_rest(key):
    model = Model()
    optimizer = built(key, model)
    assert taken(optimizer, model) == HIDDEN
    stepped = [p for group in optimizer.param_groups for p in group["params"]]
    assert sorted(map(id, stepped)) == sorted(map(id, model.parameters()))
    assert [group["name"] for group in optimizer.param_groups] == ["Muon", "Adam"]
    assert optimizer.param_groups[0]["param_names"] == HIDDEN


@pytest.mark.parametrize("key", KEYS)
def test_muon_keeps_one_average_and_adam_two(key):
    model = Model()
    optimizer = built(key, model)
    model.gradients(0)
    optimizer.step()
    assert "momentum_buffer" in optimizer.state[model.blocks[0].weight]
    assert {"exp_avg", "exp_avg_sq"} <= optimizer.state[model.embed.weight].keys()


@pytest.mark.parametrize("key", KEYS)
def test_every_way_of_handing_over_names_gives_the_same_groups(key):
    ways = []
    for way in range(4):
        model = Model()
        pairs = list(model.named_parameters())
        given = [
            iter(pairs),
            [{"params": iter(pairs)}],
            [{"params": model.parameters(), "param_names": [name for name, _ in pairs]}],
            [{"params": pair[1], "param_names": [pair[0]]} for pair in pairs],
        ][way]
        ways.append(sorted(taken(built(key, model, given), model)))
    assert ways == [sorted(HIDDEN)] * 4


@pytest.mark.parametrize("key", KEYS)
def test_without_names_the_shape_decides_and_the_log_says_so(key, caplog):
    model = Model()
    optimizer = built(key, model, model.parameters())
    assert taken(optimizer, model) == [
        "embed.weight",
        "conv.weight",
        "blocks.0.weight",
        "blocks.1.weight",
        "head.weight",
    ]
    assert "no names" in caplog.text
    assert all("param_names" not in group for group in optimizer.param_groups)
    caplog.clear()
    built(key, model)
    assert caplog.text == ""


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    ("text", "regex", "expected"),
    [
        ("blocks", False, ["blocks.0.weight", "blocks.1.weight"]),
        ("blocks.1, head", False, ["blocks.1.weight", "head.weight"]),
        ("embed", False, ["embed.weight"]),
        (r"blocks\.[1-9], ^conv", True, ["conv.weight", "blocks.1.weight"]),
        ("weight$", True, ["embed.weight", *HIDDEN, "head.weight"]),
    ],
)
def test_named_hidden_layers_are_what_muon_takes(key, text, regex, expected):
    model = Model()
    optimizer = built(key, model, muon_hidden_layers=text, muon_adam_regex=regex)
    assert sorted(taken(optimizer, model)) == sorted(expected)


@pytest.mark.parametrize("key", KEYS)
def test_a_piece_is_looked_for_letter_by_letter_or_as_an_expression(key):
    with pytest.raises(SettingsError, match=r"no weight has 'blocks.*' in its name"):
        built(key, Model(), muon_hidden_layers=r"blocks\.\d+")
    model = Model()
    optimizer = built(key, model, muon_hidden_layers=r"blocks\.\d+", muon_adam_regex=True)
    assert taken(optimizer, model) == ["blocks.0.weight", "blocks.1.weight"]


@pytest.mark.parametrize("key", KEYS)
def test_a_broken_expression_is_refused_by_the_settings(key):
    with pytest.raises(SettingsError, match="not a regular expression") as caught:
        Settings(key, muon_hidden_layers="blocks, (head", muon_adam_regex=True)
    assert caught.value.faults[0].fix == {"muon_adam_regex": False}
    assert Settings(key, muon_hidden_layers="blocks, (head").options["muon_hidden_layers"] == "blocks, (head"


@pytest.mark.parametrize("key", KEYS)
def test_what_is_not_there_is_refused_before_any_step(key):
    with pytest.raises(SettingsError, match="no weight has 'bloks' in its name") as caught:
        built(key, Model(), muon_hidden_layers="head, bloks")
    assert caught.value.faults[0].fix == {"muon_hidden_layers": None}
    with pytest.raises(SettingsError, match="have no names, so no hidden layer can be found"):
        built(key, Model(), Model().parameters(), muon_hidden_layers="head")
    with pytest.raises(SettingsError, match="it contains no name"):
        built(key, Model(), muon_hidden_layers=" , ")


@pytest.mark.parametrize("key", KEYS)
def test_a_group_that_brings_the_choice_is_left_whole(key):
    model = Model()
    groups = [
        {"params": [model.embed.weight], "use_muon": True},
        {"params": [*model.blocks.parameters(), *model.head.parameters()], "use_muon": False, "lr": 0.5},
    ]
    optimizer = built(key, model, groups)
    assert taken(optimizer, model) == ["embed.weight"]
    with pytest.raises(SettingsError, match=r"one of shape \(8,\).*Take use_muon out"):
        built(key, model, [{"params": [model.norm.weight], "use_muon": True}])


# ---------------------------------------------------------------------------------------------------- without Adam


@pytest.mark.parametrize("key", KEYS)
def test_without_adam_every_tensor_must_be_a_matrix(key):
    with pytest.raises(SettingsError, match=r"conv\.bias of shape \(4,\), .* and 3 more") as caught:
        built(key, Model(), MuonWithAuxAdam=False)
    assert caught.value.faults[0].fix == {"MuonWithAuxAdam": True}
    model = Model()
    matrices = [pair for pair in model.named_parameters() if pair[1].ndim > 1]
    optimizer = built(key, model, matrices, MuonWithAuxAdam=False)
    assert taken(optimizer, model) == [name for name, _ in matrices]


@pytest.mark.parametrize("key", KEYS)
def test_without_adam_its_options_change_nothing(key):
    matrices = ["embed.weight", *HIDDEN]
    plain = path(key, params=matrices, MuonWithAuxAdam=False)
    assert moved_apart(plain, path(key, params=matrices)) == ["embed.weight"]
    changes = {"muon_hidden_layers": "conv", "muon_adam_lr": 0.5, "muon_te1_adam_lr": 0.5, "muon_te2_adam_lr": 0.5}
    changes |= {"adam_beta1": 0.5, "adam_beta2": 0.5, "adam_eps": 0.1, "adam_weight_decay": 0.5}
    for name, value in changes.items():
        assert not spec(key).use(name).enabled_if.holds({"MuonWithAuxAdam": False})
        assert not moved_apart(plain, path(key, params=matrices, MuonWithAuxAdam=False, **{name: value})), name


# ---------------------------------------------------------------------------------------------------- rates


@pytest.mark.parametrize("key", KEYS)
def test_each_rate_moves_its_own_tensors_and_no_others(key):
    common = {"lr": 0.01, "muon_adam_lr": 0.01}
    plain = path(key, **common)
    rest = [name for name in plain if name not in HIDDEN]
    assert moved_apart(plain, path(key, **{**common, "lr": 0.02})) == HIDDEN
    assert moved_apart(plain, path(key, **{**common, "muon_adam_lr": 0.02})) == rest


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    ("option", "groups"),
    [
        ("muon_te1_adam_lr", ["text_encoder", "text_encoder_1", "te", "TE1"]),
        ("muon_te2_adam_lr", ["text_encoder_2", "te2"]),
    ],
)
def test_a_text_encoder_has_its_own_rate_of_adam_where_a_group_is_named_so(key, option, groups):
    for name in groups:
        plain = path(key, grouped=name)
        changed = path(key, grouped=name, **{option: 0.2})
        assert moved_apart(plain, changed) == [name for name in plain if name not in HIDDEN]
        if len(name) > 3:
            assert name.lower() in spec(key).use(option).option.help
    assert not moved_apart(path(key, grouped="unet"), path(key, grouped="unet", **{option: 0.2}))
    assert not moved_apart(path(key), path(key, **{option: 0.2}))


def test_no_task_of_the_bench_has_a_second_text_encoder():
    from diffopt_widgets.tasks import get_task, list_tasks

    for task in list_tasks():
        names = {group.name for group in get_task(task).build(0, torch.device("cpu"), 4, torch.float32).groups}
        assert "text_encoder" in names
        assert not names & {"text_encoder_2", "te2"}


@pytest.mark.parametrize("key", KEYS)
def test_schedule_and_scaler_act_on_both_rates(key):
    settings = Settings(key, lr=0.04, muon_adam_lr=0.02, muon_te1_adam_lr=0.01, schedule="LINEAR", lr_scaler="BATCH")
    model = Model()
    groups = [
        {"params": model.blocks.named_parameters(), "name": "text_encoder"},
        {"params": [*model.conv.named_parameters(), *model.head.named_parameters()], "name": "unet"},
    ]
    optimizer = dw.build_optimizer(settings, groups, batch_size=4)
    schedule = dw.build_schedule(settings, optimizer, 2)
    names = [group["name"] for group in optimizer.param_groups]
    assert names == ["text_encoder Muon", "text_encoder Adam", "unet Muon", "unet Adam"]
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.08, 0.02, 0.08, 0.04])
    model.gradients(0)
    optimizer.step()
    schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.04, 0.01, 0.04, 0.02])


@pytest.mark.parametrize("key", KEYS)
def test_a_groups_own_rate_is_muons_and_adams_where_it_has_none_of_its_own(key):
    model = Model()
    optimizer = built(key, model, [{"params": list(model.named_parameters()), "lr": 0.5}], muon_adam_lr=0.01)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.01]
    if spec(key).use("muon_adam_lr").option.nullable:
        optimizer = built(key, model, [{"params": list(model.named_parameters()), "lr": 0.5}], muon_adam_lr=None)
        assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.5]


# ---------------------------------------------------------------------------------------------------- on the bench


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("task", ["swiss_roll", "digits"])
def test_a_run_shows_the_rate_of_every_part(key, task):
    run = dw.train(dw.preset(key, "recommended"), task, 3, progress=False)
    assert run.status == "done"
    assert run.history.groups == ("text_encoder Muon", "text_encoder Adam", "unet Muon", "unet Adam")
    settings = run.plan.settings
    first = run.history.column("applied_lr")[1] / run.history.column("lr")[1]
    assert first[[1, 3]].tolist() == [1.0, 1.0]
    assert "applied_lr[unet Muon]" in run.history.to_columns()
    assert settings.options["MuonWithAuxAdam"] is True


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
def test_the_recommended_preset_trains(key):
    run = dw.train(dw.preset(key, "recommended"), "swiss_roll", 150, progress=False)
    assert run.status == "done"
    assert run.eval_after < 0.5 * run.eval_before


@pytest.mark.filterwarnings("ignore::diffopt_widgets.execution.outcome.RunFailed")
def test_a_run_whose_hidden_layers_are_not_there_fails_with_the_words():
    run = dw.train(Settings("MUON", muon_hidden_layers="transformer_blocks"), "swiss_roll", 3, progress=False)
    assert run.status == "failed"
    assert "no weight has 'transformer_blocks' in its name" in run.message


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"muon_hidden_layers": "blocks, conv"},
        {"muon_hidden_layers": r"blocks\.\d, '^conv'|conv", "muon_adam_regex": True},
        {"muon_adam_lr": 0.05, "adam_beta1": 0.5, "adam_weight_decay": 0.1, "weight_decay": 0.1},
    ],
)
def test_copied_code_makes_the_same_groups_from_named_parameters(key, values):
    settings = Settings(key, lr=0.01, schedule="COSINE", **values)
    mine, theirs = Model(), Model()
    optimizer = dw.build_optimizer(settings, mine.named_parameters())
    scope = {"params": list(theirs.named_parameters())}
    exec(to_python(settings, steps=5), scope)  # noqa: S102  # running it is the point
    other, schedulers = scope["optimizer"], [dw.build_schedule(settings, optimizer, 5), scope["scheduler"]]
    assert taken(other, theirs) == taken(optimizer, mine)
    for step in range(5):
        for model, one, scheduler in zip((mine, theirs), (optimizer, other), schedulers, strict=True):
            model.gradients(step)
            one.step()
            scheduler.step()
    for one, same in zip(mine.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, same)


def test_copied_code_says_how_a_text_encoder_gets_its_own_rate():
    assert "text_encoder" in to_python(Settings("MUON", muon_te1_adam_lr=1e-4))
    assert "text_encoder" not in to_python(Settings("MUON"))


# ---------------------------------------------------------------------------------------------------- words


def test_the_words_about_names_are_the_expression():
    ends = OUTER.split("(")[2].split(")")[0].split("|")
    assert all(f" {word}" in OUTER_WORDS for word in ends)
    assert OUTER_WORDS.startswith("embed anywhere")
    for name in ("x.EMBED_tokens.weight", *(f"model.{word}.weight" for word in ends), *ends):
        assert not hidden_by_itself(name, (4, 4)), name
    for name in ("model.heads.weight", "model.conv_into.weight", "emblem.weight"):
        assert hidden_by_itself(name, (4, 4)), name


@pytest.mark.parametrize("shape", [(), (4,), (1, 8), (8, 1), (1, 3, 3, 3), (4, 1, 1, 1)])
def test_what_is_no_matrix_once_flattened_is_left_to_adam(shape):
    assert not hidden_by_itself("blocks.0.weight", shape)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch has Muon from 2.9 on")
def test_torchs_own_muon_takes_no_convolutions_and_walks_the_same_path_on_matrices():
    """Why the back end is another package's: the same steps to the bit, on more tensors."""
    with pytest.raises(ValueError, match="2D"):
        torch.optim.Muon([Model().conv.weight])
    ours, theirs = Model(), Model()
    matrices = [list(model.blocks.named_parameters())[::2] for model in (ours, theirs)]
    optimizer = built("MUON", ours, matrices[0], lr=0.02, MuonWithAuxAdam=False)
    reference = torch.optim.Muon([p for _, p in matrices[1]], lr=0.02, weight_decay=0.0)
    for step in range(50):
        for model, one in ((ours, optimizer), (theirs, reference)):
            model.gradients(step)
            one.step()
    for (_, p), (_, q) in zip(*matrices, strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=2e-3)


# ---------------------------------------------------------------------------------------------------- what options do


ADV = [key for key in KEYS if key != "MUON"]
SKETCHED = {"low_rank_ortho": True, "ortho_rank": 2}


@pytest.mark.parametrize("key", ADV)
def test_the_auxiliary_adam_factors_its_matrices(key):
    plain, factored = path(key), path(key, adam_nnmf_factor=True)
    assert moved_apart(plain, factored) == ["embed.weight", "head.weight"]


@pytest.mark.parametrize("key", ADV)
def test_muon_factors_its_own_states_and_steps_another_matrix(key):
    assert moved_apart(path(key), path(key, nnmf_factor=True)) == HIDDEN
    moves = []
    for factored in (False, True):
        weight = nn.Parameter(torch.zeros(40, 10))
        optimizer = dw.build_optimizer(Settings(key, nnmf_factor=factored, lr=1.0), [("w", weight)])
        weight.grad = torch.randn(40, 10, generator=torch.Generator().manual_seed(0))
        optimizer.step()
        moves.append(torch.linalg.svdvals(weight.detach()))
    plain, factored = (move.min() / move.max() for move in moves)
    assert factored != pytest.approx(float(plain), rel=0.05), "as 20 × 20 it is another matrix"


@pytest.mark.parametrize("key", ADV)
def test_a_sketch_is_drawn_from_torchs_global_generator_and_limits_the_rank(key):
    def seeded(seed, **values):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return path(key, steps=1, lr=0.1, **values)

    start = {name: p.detach() for name, p in Model().named_parameters()}
    low = seeded(0, **SKETCHED)
    assert not moved_apart(low, seeded(0, **SKETCHED))
    assert moved_apart(low, seeded(1, **SKETCHED)) == HIDDEN
    assert moved_apart(low, seeded(0, **{**SKETCHED, "ortho_rank": 3})) == HIDDEN
    assert not moved_apart(seeded(0), seeded(1))
    if key == "MUON_ADV":  # AdaMuon's division afterwards fills the other directions again
        for name in HIDDEN:
            move = (low[name] - start[name]).flatten(1)
            assert torch.linalg.matrix_rank(move, rtol=1e-3) == 2


@pytest.mark.parametrize("key", ADV)
def test_a_sketch_of_full_rank_differs_by_rounding_in_bfloat16_only(key):
    plain = path(key, steps=1, lr=0.1, rms_rescaling=False)
    full = path(key, steps=1, lr=0.1, rms_rescaling=False, low_rank_ortho=True, ortho_rank=128)
    start = Model().blocks[0].weight.detach()
    a, b = (found["blocks.0.weight"] - start for found in (plain, full))
    assert torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("key", ADV)
def test_the_bench_repeats_a_run_with_a_sketch_and_leaves_the_global_generator_alone(key, fused):
    def losses(seed):
        torch.manual_seed(seed)
        before = torch.random.get_rng_state()
        made = Settings(key, **SKETCHED, muon_adam_lr=1e-3, fused_back_pass=fused)
        run = dw.train(made, "swiss_roll", 5, progress=False)
        assert torch.equal(before, torch.random.get_rng_state())
        return run.history.column("loss").tolist()

    with torch.random.fork_rng():
        assert losses(0) == losses(1)


@pytest.mark.parametrize("key", ADV)
def test_weights_in_bfloat16_are_rounded_at_random(key):
    def moved(**values):
        model = Model().to(torch.bfloat16)
        optimizer = built(key, model, lr=1e-4, **values)
        for step in range(3):
            model.gradients(step)
            optimizer.step()
        return {name: p.detach() for name, p in model.named_parameters()}

    assert moved_apart(moved(), moved(stochastic_rounding=False))
    assert not moved_apart(moved(), moved())
    assert not moved_apart(path(key), path(key, stochastic_rounding=False))


@pytest.mark.parametrize("key", ADV)
def test_cautious_decay_acts_on_both_parts(key):
    for name, parts in (("weight_decay", HIDDEN), ("adam_weight_decay", None)):
        plain, cautious = path(key, **{name: 0.5}), path(key, **{name: 0.5}, cautious_wd=True)
        assert moved_apart(plain, cautious) == (parts or [name for name in plain if name not in HIDDEN])


@pytest.mark.parametrize("key", ADV)
def test_adams_first_step_decays_ten_times_as_strongly_at_its_defaults(key):
    def decayed(**values):
        optimizer = dw.build_optimizer(
            Settings(key, lr=0.01, adam_weight_decay=0.1, **values), [p := nn.Parameter(torch.ones(3))]
        )
        p.grad = torch.zeros(3)
        optimizer.step()
        return 1 - float(p.detach()[0])

    assert decayed() == pytest.approx(10 * 0.01 * 0.1, rel=1e-4)
    assert decayed(adam_use_bias_correction=False) == pytest.approx(0.01 * 0.1, rel=1e-4)


@pytest.mark.parametrize("key", ADV)
def test_kourkoutas_beta_is_overwritten_while_bias_correction_is_on(key):
    assert not moved_apart(path(key), path(key, adam_kourkoutas_beta=True))
    off = {"adam_use_bias_correction": False}
    assert moved_apart(path(key, **off), path(key, adam_kourkoutas_beta=True, **off))


def singular_values(**values):
    weight = nn.Parameter(torch.zeros(64, 64))
    optimizer = dw.build_optimizer(Settings("MUON_ADV", lr=1.0, rms_rescaling=False, **values), [("w", weight)])
    weight.grad = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    optimizer.step()
    return torch.linalg.svdvals(weight.detach())


def share(values, low, high):
    return float(((values > low) & (values < high)).float().mean())


def test_how_near_to_orthogonal_the_steps_come_is_told_rightly():
    assert share(singular_values(), 0.65, 1.25) > 0.9
    assert share(singular_values(ns_steps=2), 0.65, 1.25) < 0.8
    assert share(singular_values(ns_steps=15), 0.99, 1.01) < 0.2, "the usual coefficients never settle at 1"
    assert share(singular_values(accelerated_ns=True), 0.65, 1.25) < 0.5
    assert singular_values(accelerated_ns=True).max() > 1.9
    assert share(singular_values(accelerated_ns=True, ns_steps=10), 0.8, 1.25) > 0.95
    assert share(singular_values(accelerated_ns=True, ns_steps=15), 0.995, 1.005) == 1.0


@pytest.mark.parametrize("columns", [16, 64])
def test_an_update_that_is_not_rescaled_moves_a_weight_by_about_the_rate_over_root_columns(columns):
    for rows in (16, 64, 200):
        weight = nn.Parameter(torch.zeros(rows, columns))
        optimizer = dw.build_optimizer(Settings("MUON", lr=1.0), [("w", weight)])
        weight.grad = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
        optimizer.step()
        assert float(weight.detach().square().mean().sqrt()) == pytest.approx(columns**-0.5, rel=0.25)


def test_normuon_enlarges_an_update_that_is_not_rescaled():
    weight = nn.Parameter(torch.zeros(64, 64))
    optimizer = dw.build_optimizer(
        Settings("MUON_ADV", lr=1.0, rms_rescaling=False, normuon_variant=True), [("w", weight)]
    )
    sizes = []
    for step in range(80):
        before = weight.detach().clone()
        weight.grad = torch.randn(64, 64, generator=torch.Generator().manual_seed(step))
        optimizer.step()
        sizes.append(float((weight.detach() - before).square().mean().sqrt()))
    assert sizes[0] == pytest.approx(0.05**-0.5, rel=0.01)
    assert sizes[-1] == pytest.approx(1.0, rel=0.05)
