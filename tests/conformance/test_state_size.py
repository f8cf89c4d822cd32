"""State bytes told before a run, against those measured after a step; the shapes of models, against published numbers."""

import contextlib
import hashlib
import importlib
import math

import pytest
import torch

import diffopt_widgets as dw
from diffopt_widgets.optimizers.factory import MissingBackend, build_optimizer
from diffopt_widgets.settings import SettingsError
from diffopt_widgets.state_size.count import memory, read_shapes, tensors_memory
from diffopt_widgets.state_size.measured import state_bytes
from diffopt_widgets.state_size.models import LAYERS, MODELS, Tensor, find_model, full_tensors, lora_tensors
from diffopt_widgets.state_size.shapes_only import shapes_only

TENSORS = {
    Tensor((320, 4)): 3,
    Tensor((4, 320), zero=True): 2,
    Tensor((96, 128)): 1,
    Tensor((128,)): 2,
    Tensor((16, 8, 3, 3)): 1,
    Tensor((5000,)): 2,
    Tensor((140, 120)): 2,
    Tensor((1,)): 1,
}
"""Factors of a LoRA, a layer, a bias, a convolution, and on both sides of the smallest 8-bit size."""

ROUNDS = {"stochastic_rounding": True}


def measured(settings, tensors=TENSORS, dtype=torch.float32):
    """Return the bytes after a real step on tensors of these shapes."""
    params = [
        torch.nn.Parameter(torch.full(tensor.shape, 0.0 if tensor.zero else 0.1, dtype=dtype))
        for tensor, count in tensors.items()
        for _ in range(count)
    ]
    names = [tensor.name for tensor, count in tensors.items() for _ in range(count)]
    optimizer = build_optimizer(settings, list(zip(names, params, strict=True)) if all(names) else params)
    for param in params:
        param.grad = torch.full_like(param, 0.01)
    if hasattr(optimizer, "train"):
        optimizer.train()
    optimizer.step()
    return state_bytes(optimizer)


def variants(key):
    """Return the defaults of an optimizer, and the same with one switch, choice, or number that sizes hang on, changed."""
    found = [dw.Settings(key)]
    for use in found[0].spec.uses:
        if use.requires or use.option.kind not in {"bool", "choice", "int", "float"}:
            continue
        if use.option.kind == "bool":
            others = [not use.default]
        elif use.option.choices:
            others = [choice for choice in use.option.choices if choice != use.default]
        else:
            sizes = (
                [20_000] if isinstance(use.default, int) and use.default > 1000 else []
            )  # of tensors, not of repetitions
            others = [0, 2, *sizes] if use.option.kind == "int" else [0.0]
        for other in others:
            try:
                found.append(dw.Settings(key, **{use.name: other}))
            except SettingsError:
                continue  # not allowed by itself
    return found


def tensors_for(settings):
    """Return one tensor of each kind to try settings on; for SOAP the directions of 5,000 numbers would take half a minute."""
    turned = settings.options.get("precondition_1d", False)
    return {tensor: 1 for tensor in TENSORS if not turned or max(tensor.shape) < 1000}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("key", dw.list_optimizers())
def test_what_is_told_is_what_a_step_leaves(key, dtype):
    settings = dw.Settings(key)
    assert tensors_memory(settings, TENSORS, str(dtype).removeprefix("torch.")) == measured(settings, dtype=dtype)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what back ends say about rare options
@pytest.mark.parametrize("key", dw.list_optimizers())
def test_every_option_that_changes_the_state_is_followed(key):
    seen = {}
    for settings in variants(key):
        with contextlib.suppress(
            NotImplementedError, RuntimeError, TypeError, ValueError
        ):  # a step that fails leaves none
            seen[settings] = measured(settings, tensors_for(settings))
    assert dw.Settings(key) in seen
    assert {settings: tensors_memory(settings, tensors_for(settings)) for settings in seen} == seen


@pytest.mark.slow
@pytest.mark.parametrize("key", [key for key in dw.list_optimizers() if dw.spec(key).adapter_options(ROUNDS)])
def test_stochastic_rounding_keeps_the_states_of_32_bit_weights(key):
    settings = dw.Settings(key, **ROUNDS)
    assert tensors_memory(settings, TENSORS, "bfloat16") == measured(settings, dtype=torch.bfloat16)
    assert tensors_memory(settings, TENSORS) == tensors_memory(dw.Settings(key), TENSORS), "of no use there"


KAHAN = {"kahan_summation": True}


@pytest.mark.slow
@pytest.mark.parametrize("key", [key for key in dw.list_optimizers() if dw.spec(key).adapter_options(KAHAN)])
def test_kahan_summation_keeps_two_bytes_more_per_weight(key):
    own = {"stochastic_rounding": False}
    settings = dw.Settings(key, **KAHAN, **own)
    told = tensors_memory(settings, TENSORS, "bfloat16")
    assert told == measured(settings, dtype=torch.bfloat16)
    weights = sum(math.prod(tensor.shape) * count for tensor, count in TENSORS.items())
    assert told == tensors_memory(dw.Settings(key, **own), TENSORS) + 2 * weights
    assert tensors_memory(settings, TENSORS) == told - 2 * weights, "of no use there"


@pytest.mark.slow
def test_small_tensors_of_an_8_bit_optimizer_keep_32_bits():
    weights = 100 * 41  # above the back end's 4,096
    coded = memory(dw.Settings("ADAMW_8BIT"), [(100, 41)])
    plain = memory(dw.Settings("ADAMW_8BIT", min_8bit_size=weights + 1), [(100, 41)])
    assert plain == 8 * weights
    assert coded < 3 * weights


def test_factored_states_grow_with_the_edges_and_not_with_the_area():
    assert memory(dw.Settings("ADAFACTOR"), [(1000, 500)]) == 4 * (1000 + 500)


def test_a_thinner_estimate_keeps_less():
    sizes = [memory(dw.Settings("PRODIGY", slice_p=slice_p), [(1100, 100)]) for slice_p in (1, 11)]
    assert sizes == [16 * 110_000, 8 * 110_000 + 2 * 4 * 10_000]


def test_what_was_counted_is_not_counted_again(monkeypatch):
    shapes = [(37, 41), (37,)]
    told = memory(dw.Settings("ADAMW"), shapes)
    monkeypatch.setattr("diffopt_widgets.state_size.count.build_optimizer", None)  # a further step would need it
    assert memory(dw.Settings("ADAMW"), shapes) == memory(dw.Settings("ADAMW"), [("a", (37, 41)), ("b", (37,))]) == told
    with pytest.raises(SettingsError, match="not callable"):  # other options and precisions are counted
        memory(dw.Settings("ADAMW", amsgrad=True), shapes)
    with pytest.raises(SettingsError, match="not callable"):
        memory(dw.Settings("ADAMW"), shapes, dtype="bfloat16")


def test_a_package_that_was_removed_is_missed_even_after_a_count(monkeypatch):
    memory(dw.Settings("LION"), [(37, 41)])
    monkeypatch.setitem(__import__("sys").modules, "lion_pytorch", None)
    with pytest.raises(MissingBackend):
        memory(dw.Settings("LION"), [(37, 41)])


@pytest.mark.slow
def test_many_of_a_kind_are_not_stepped_one_by_one():
    settings = dw.Settings("ADAMW_8BIT")
    tables = 2 * 256 * 4  # shared by all tensors
    one = memory(settings, [(4096, 64)]) - tables
    assert memory(settings, {(4096, 64): 10**9}) == 10**9 * one + tables


def test_nothing_outlasts_the_count():
    state = torch.get_rng_state()
    memory(dw.Settings("LAMB"), [(64, 64)])
    with pytest.raises(RuntimeError, match="in the middle"), shapes_only():
        raise RuntimeError("in the middle")
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.ones(3).sum().item() == 3.0
    assert type(torch.empty(2)) is torch.Tensor
    assert torch.overrides._get_current_function_mode_stack() == []


@pytest.mark.parametrize("first", ["told", "made"])
def test_a_table_that_a_package_keeps_is_never_one_without_memory(monkeypatch, first):
    functional = importlib.import_module("bitsandbytes.functional")
    monkeypatch.setattr(functional, "name2qmap", {})
    if first == "made":
        functional.quantize_blockwise(torch.ones(4096))
    with shapes_only():
        codes, _ = functional.quantize_blockwise(torch.ones(4096))
        assert codes.shape == (4096,)
    codes, state = functional.quantize_blockwise(torch.full((4096,), 2.0))
    values = functional.dequantize_blockwise(codes, state)
    assert type(values) is torch.Tensor
    assert values.tolist() == [2.0] * 4096


NAMED = {
    Tensor((48, 32), name="blocks.0.attn.weight"): 1,
    Tensor((48, 32), name="blocks.1.attn.weight"): 1,
    Tensor((48, 32), name="embedding.weight"): 1,
    Tensor((48, 32), name="final_layer.weight"): 1,
    Tensor((48,), name="blocks.0.bias"): 1,
}


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"muon_hidden_layers": "blocks.1"}, {"muon_hidden_layers": "blocks, final"}])
@pytest.mark.parametrize("key", ["MUON", "MUON_ADV"])
def test_muon_is_told_by_the_names_of_its_layers(key, options):
    settings = dw.Settings(key, **options)
    told = tensors_memory(settings, NAMED)
    assert told == measured(settings, NAMED)
    by_shape = tensors_memory(dw.Settings(key), {Tensor((48, 32)): 4, Tensor((48,)): 1})  # Muon takes all matrices
    assert told > by_shape
    with pytest.raises(SettingsError, match="no weight has 'mlp'"):
        tensors_memory(settings.replace(muon_hidden_layers="blocks, mlp"), NAMED)


@pytest.mark.slow
@pytest.mark.parametrize("key", MODELS)
def test_outer_layers_of_known_models_are_adams(key, caplog):
    weights = find_model(key).weights
    outer = [
        w for w in weights if len(w.shape) > 1 and ("embed" in w.name or w.name.startswith(("conv_in", "conv_out")))
    ]
    named = memory(dw.Settings("MUON"), key)
    assert caplog.text == ""  # that there are no names
    with pytest.warns(UserWarning, match="by their names"):
        nameless = memory(dw.Settings("MUON"), [weight.shape for weight in weights])
    second_moments = 4 * sum(math.prod(weight.shape) for weight in outer)
    assert named - nameless == second_moments > 0


class Network(torch.nn.Module):
    """Every kind of weight that a model may have: tied, frozen, zero, a scalar, a convolution, another precision."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.embed = torch.nn.Embedding(80, 96)
        self.hidden = torch.nn.Linear(96, 64).to(dtype)
        self.frozen = torch.nn.Linear(96, 8).requires_grad_(requires_grad=False)
        self.conv = torch.nn.Conv2d(4, 16, 3)
        self.norm = torch.nn.LayerNorm(96)
        self.scale = torch.nn.Parameter(torch.tensor(1.0))
        self.lora_B = torch.nn.Parameter(torch.zeros(96, 4))
        self.head = torch.nn.Linear(96, 80, bias=False)
        self.head.weight = self.embed.weight

    def kept(self, settings):
        """Return the bytes after a real step of the optimizer that is built from these weights with their names."""
        trained = [(name, p) for name, p in self.named_parameters() if p.requires_grad]
        optimizer = build_optimizer(settings, trained)
        for _, p in trained:
            p.grad = torch.full_like(p, 0.01)
        if hasattr(optimizer, "train"):
            optimizer.train()
        optimizer.step()
        return state_bytes(optimizer)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what Prodigy Plus says about float16
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("key", dw.list_optimizers())
def test_a_model_keeps_what_is_told(key, dtype):
    model = Network(dtype)
    settings = dw.Settings(key)
    told = memory(settings, model)
    assert told == memory(settings, {n: p for n, p in model.named_parameters() if p.requires_grad})
    assert told == model.kept(settings)


@pytest.mark.slow
def test_frozen_tensors_and_further_names_of_a_tensor_do_not_count_in_any_form():
    model, settings = Network(), dw.Settings("ADAM")
    kept = model.kept(settings)
    for duplicates in (False, True):
        pairs = list(model.named_parameters(remove_duplicate=not duplicates))
        assert any(not p.requires_grad for _, p in pairs)
        assert len({id(p) for _, p in pairs}) == len(pairs) - duplicates
        for form in (pairs, iter(pairs), dict(pairs)):
            assert memory(settings, form) == kept, duplicates
    pairs = list(model.named_parameters())
    quantized = ("codes", torch.zeros(4, dtype=torch.int8))  # frozen as well
    assert memory(settings, [*pairs, quantized]) == kept
    assert memory(settings, [*pairs, ("more", (30, 4))]) == kept + memory(settings, [("more", (30, 4))])
    detached = [(name, p.detach()) for name, p in pairs if p.requires_grad]  # nothing tells which of these are trained
    assert memory(settings, detached) == kept


@pytest.mark.slow
@pytest.mark.parametrize("key", [key for key in dw.list_optimizers() if dw.spec(key).adapter_options(ROUNDS)])
@pytest.mark.parametrize("options", [ROUNDS, {"kahan_summation": True, "stochastic_rounding": False}])
def test_rounding_acts_on_the_weights_of_a_model_that_are_in_bfloat16(key, options):
    model = Network(torch.bfloat16)
    settings = dw.Settings(key, **options)
    assert memory(settings, model) == model.kept(settings)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"muon_hidden_layers": "hidden"}, {"muon_hidden_layers": "embed, conv"}])
@pytest.mark.parametrize("key", ["MUON", "MUON_ADV", "ADAMUON_ADV"])
def test_names_are_taken_in_every_form(key, options):
    settings = dw.Settings(key, **options)
    model = Network()
    kept = model.kept(settings)
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    assert memory(settings, trained) == kept
    assert memory(settings, [(name, p.shape) for name, p in trained]) == kept
    assert memory(settings, {name: tuple(p.shape) for name, p in trained}) == kept
    with torch.device("meta"):
        assert memory(settings, Network()) == kept


@pytest.mark.slow
@pytest.mark.parametrize("key", ["MUON", "MUON_ADV"])
def test_without_names_it_is_said_that_the_state_depends_on_them(key, caplog):
    settings = dw.Settings(key)
    trained = [(name, p) for name, p in Network().named_parameters() if p.requires_grad]
    all_adam = memory(settings, [("embed", p.shape) for _, p in trained])
    all_muon = memory(settings, [("hidden", p.shape) for _, p in trained])
    with pytest.warns(UserWarning, match=f"{key} chooses .* keeps {all_muon:,} to {all_adam:,} bytes. Give the model"):
        assert memory(settings, [p.shape for _, p in trained]) == all_muon
    assert caplog.text == "", "said once"


def test_names_make_no_difference_to_vectors_nor_where_muon_takes_all():
    memory(dw.Settings("MUON"), [(30,)])  # a warning would be an error here
    memory(dw.Settings("MUON", MuonWithAuxAdam=False), [(30, 4)])
    memory(dw.Settings("ADAMW"), [(30, 4)])


def test_the_precision_of_a_model_can_be_changed_for_the_count():
    model = Network(torch.bfloat16)
    assert memory(dw.Settings("ADAMW"), model, dtype="float32") == Network().kept(dw.Settings("ADAMW"))


@pytest.mark.slow
def test_a_known_model_is_asked_for_by_name():
    settings = dw.Settings("ADAMW")
    sizes = [memory(settings, "sdxl", dtype=dtype) / 2**30 for dtype in ("float32", "bfloat16")]
    assert sizes == pytest.approx([8 * 2_567_463_684 / 2**30, 4 * 2_567_463_684 / 2**30], abs=1e-5)
    assert memory(settings, "SDXL", lora=4) == tensors_memory(settings, lora_tensors(find_model("sdxl"), 4))


@pytest.mark.slow
@pytest.mark.parametrize("key", ["ADAMW_8BIT", "ADAFACTOR", "PRODIGY", "DADAPT_ADAN", "MUON"])
def test_a_whole_lora_of_a_known_model_keeps_what_is_told(key):
    settings = dw.Settings(key)
    assert memory(settings, "sd15", lora=4) == measured(settings, lora_tensors(find_model("sd15"), 4))


@pytest.mark.parametrize(
    ("shapes", "named", "words"),
    [
        ("sdxxl", {}, "choose one of sd15, sdxl, flux"),
        ("sdxl", {"lora": 0}, "whole number from 1"),
        ("sdxl", {"lora": 8, "layers": "some"}, "choose one of attention, blocks, all"),
        ([(4, 3)], {"lora": 8}, "Give the shapes of the LoRA's own tensors"),
        ([(4, 3)], {"dtype": "float8"}, "float32 or bfloat16"),
        ([], {}, "there are none"),
        (5, {}, "not shapes"),
        ([5], {}, "not a shape"),
        (["ab"], {}, "not a shape"),
        ([(4, -3)], {}, "whole number from 0"),
        ([(4, 2.5)], {}, "whole number from 0"),
        ({(4, 3): 0}, {}, "whole number from 1"),
        ([torch.ones(3)], {}, r"Give the model itself, or .p.shape for p in model.parameters"),
        (torch.nn.Linear(3, 4).requires_grad_(requires_grad=False), {}, "no weight of this model is trained"),
        (torch.nn.LazyLinear(4), {}, "weight has no shape yet"),
        (torch.nn.Linear(3, 4), {"lora": 8}, "Give the shapes of the LoRA's own tensors"),
        ({"weight": torch.ones(3, dtype=torch.int64)}, {}, "weight is in int64, in which no weight is trained"),
        ({"weight": 5}, {}, "not a shape"),
        ([("weight", (4, 3)), (4, 3)], {}, "not a shape|whole number"),
    ],
)
def test_bad_input_is_explained(shapes, named, words):
    with pytest.raises(SettingsError, match=words):
        memory(dw.Settings("ADAMW"), shapes, **named)


def test_a_step_that_fails_says_so():
    with pytest.raises(SettingsError, match="ADAMW: its state cannot be counted, since a step fails: Storage size"):
        memory(dw.Settings("ADAMW"), [(2**40, 2**40)])
    assert type(torch.empty(2)) is torch.Tensor


def test_a_back_end_that_logs_stays_silent(capsys):
    memory(dw.Settings("DADAPT_ADAM", log_every=1), [(4, 3)])
    assert capsys.readouterr().out == ""


def test_an_option_that_needs_a_gpu_is_counted_without_one():
    with pytest.raises(MissingBackend):
        build_optimizer(dw.Settings("ADAMW", fused=True, capturable=True), [torch.nn.Parameter(torch.ones(3))])
    assert memory(dw.Settings("ADAMW", fused=True, capturable=True), [(3,)]) == memory(dw.Settings("ADAMW"), [(3,)])


def test_what_is_repeated_in_a_step_is_not_repeated_here():
    often = memory(dw.Settings("AIDA", k=10**9), [(8, 8)])  # years of it
    assert often == memory(dw.Settings("AIDA"), [(8, 8)]) > 0


def test_shapes_of_torch_are_shapes():
    model = torch.nn.Linear(3, 4)
    assert read_shapes(p.shape for p in model.parameters()) == {Tensor((4, 3)): 1, Tensor((4,)): 1}


PUBLISHED = {
    # weights and tensors as model cards and logs have them, and a digest of every name and shape in diffusers 0.35.2
    "sd15": (859_520_964, 686, "5159ace1d6e60acb2ff7b9ddd73044e92771c04623d5c12ebfaaf0067d0aabb7"),
    "sdxl": (2_567_463_684, 1680, "9556a38d644b6b5389f13de11fde3b4314fff6224b313378827c9a1b34b67f27"),
    "flux": (11_901_408_320, 1160, "59cacfcb037310a9183978ff2037376f0699f794d7da03db50fea0dca6795647"),
}


@pytest.mark.parametrize("key", MODELS)
def test_models_have_the_published_weights(key):
    weights = find_model(key).weights
    count, tensors, digest = PUBLISHED[key]
    assert sum(math.prod(weight.shape) for weight in weights) == count
    assert len({weight.name for weight in weights}) == len(weights) == tensors
    lines = "\n".join(f"{weight.name} {weight.shape}" for weight in sorted(weights))
    assert hashlib.sha256(lines.encode()).hexdigest() == digest
    assert sum(full_tensors(find_model(key)).values()) == tensors


@pytest.mark.parametrize(
    ("key", "layers", "modules"),
    [
        ("sd15", "blocks", 192),  # kohya: "create LoRA for U-Net: 192 modules"
        ("sdxl", "blocks", 722),  # kohya: "create LoRA for U-Net: 722 modules"
        ("sdxl", "attention", 70 * 2 * 4),
        ("flux", "attention", 19 * 8 + 38 * 3),
        ("sd15", "all", 282),
    ],
)
def test_a_lora_has_two_factors_for_each_layer(key, layers, modules):
    tensors = lora_tensors(find_model(key), 8, layers)
    assert sum(count for tensor, count in tensors.items() if tensor.zero) == modules
    assert sum(count for tensor, count in tensors.items() if not tensor.zero) == modules


def test_loras_have_the_published_sizes():
    def weights(key):
        return sum(count * math.prod(tensor.shape) for tensor, count in lora_tensors(find_model(key), 4).items())

    assert weights("sdxl") == 5_806_080  # diffusers' DreamBooth script logs it
    assert weights("sd15") == 797_184  # the 3.3 MB of diffusers' LoRAs of rank 4


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("key", MODELS)
def test_the_factors_make_the_layer(key, layers):
    model, rank = find_model(key), 3
    for tensor in lora_tensors(model, rank, layers):
        assert rank in tensor.shape[:2]
    wide = {weight.shape for weight in model.weights if len(weight.shape) > 1}
    downs = {(t.shape[1], *t.shape[2:]) for t in lora_tensors(model, rank, "all") if not t.zero}
    ups = {t.shape[0] for t in lora_tensors(model, rank, "all") if t.zero}
    assert downs == {shape[1:] for shape in wide}
    assert ups == {shape[0] for shape in wide}
