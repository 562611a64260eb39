from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from vader_bench.diffusion.lora import Lora
from vader_bench.errors import UserError
from vader_bench.seeding import torch_stream

INPUT = torch.linspace(-1, 1, 12).reshape(2, 6)
NAMES = ["first.to_q", "first.to_out.0", "second.to_q", "second.to_out.0"]


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.to_q = nn.Linear(6, 4)
        self.to_out = nn.ModuleList([nn.Linear(4, 6)])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.to_out[0](torch.tanh(self.to_q(x)))  # type: ignore[no-any-return]


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.first, self.second, self.other = Attention(), Attention(), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.other(self.second(self.first(x)))  # type: ignore[no-any-return]


def inject(model: nn.Module, rank: int = 2, seed: int = 0) -> Lora:
    return Lora(model, ["to_q", "to_out.0"], rank, torch_stream(seed, "lora"))


def trained(model: nn.Module) -> Lora:
    """Adapters that change the model."""
    lora = inject(model)
    with torch.no_grad():
        for weight in lora.parameters():
            weight.add_(0.1)
    return lora


def test_adapters_start_as_no_change_and_are_all_that_trains() -> None:
    model = Model()
    before = model(INPUT)
    lora = inject(model)
    torch.testing.assert_close(model(INPUT), before, atol=0, rtol=0)
    trainable = [p for p in model.parameters() if p.requires_grad]
    assert {id(p) for p in trainable} == {id(p) for p in lora.parameters()}
    assert sorted(lora.state()) == sorted(
        f"{n}.{part}.weight" for n in NAMES for part in ("lora_A", "lora_B")
    )


def test_the_start_depends_on_the_generator_alone() -> None:
    torch.manual_seed(1)
    first = inject(Model()).state()
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second = inject(Model()).state()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = inject(Model(), seed=1).state()
    assert not torch.equal(first["first.to_q.lora_A.weight"], other["first.to_q.lora_A.weight"])


def test_the_start_is_uniform_within_one_over_root_inputs() -> None:
    start = inject(Model(), rank=400).state()
    values = start["first.to_q.lora_A.weight"] * 6**0.5
    assert -1 <= values.min() < -0.95
    assert 0.95 < values.max() <= 1
    assert values.var().item() == pytest.approx(1 / 3, rel=0.1)
    assert not start["first.to_q.lora_B.weight"].any()


def test_the_scale_is_1_whatever_the_rank() -> None:
    model = nn.ModuleDict({"to_q": nn.Linear(6, 4)})
    lora = Lora(model, ["to_q"], 3, torch_stream(0, "lora"))
    low, high = lora.parameters()
    nn.init.constant_(high, 0.5)
    plain = model.get_submodule("to_q.base_layer")
    torch.testing.assert_close(model["to_q"](INPUT), plain(INPUT) + INPUT @ low.T @ high.T)


def test_a_second_injection_is_refused() -> None:
    model = Model()
    inject(model)
    with pytest.raises(ValueError, match="already has adapters"):
        inject(model)


def test_a_target_that_names_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no module of the model is called to_k, q$"):
        Lora(Model(), ["to_q", "to_k", "q"], 2, torch_stream(0, "lora"))


def test_disabled_is_the_base_model_and_trains_nothing() -> None:
    base, model = Model(), Model()
    lora = trained(model)
    changed = model(INPUT)
    with lora.disabled():
        assert torch.equal(model(INPUT), base(INPUT))
        assert not any(p.requires_grad for p in model.parameters())
    assert torch.equal(model(INPUT), changed)
    assert all(p.requires_grad for p in lora.parameters())


def test_adapters_come_back_after_an_error() -> None:
    model = Model()
    lora = trained(model)
    changed = model(INPUT)
    with pytest.raises(KeyError), lora.disabled():
        raise KeyError
    assert torch.equal(model(INPUT), changed)


def weights_of(model: nn.Module) -> dict[str, tuple[int, Tensor]]:
    """Return where each weight is, and its values."""
    return {name: (weight.data_ptr(), weight.clone()) for name, weight in model.state_dict().items()}


def test_merged_adapters_are_the_same_model_and_leave_no_trace() -> None:
    model = Model()
    lora, before = trained(model), weights_of(model)
    apart = model(INPUT)
    with lora.merged():
        assert not any(p.requires_grad for p in model.parameters())
        together = model(INPUT)
    with pytest.raises(KeyError), lora.merged():
        raise KeyError
    torch.testing.assert_close(together, apart)
    assert not torch.equal(together, Model()(INPUT))
    assert all(p.requires_grad for p in lora.parameters())
    for name, (place, values) in weights_of(model).items():
        assert place == before[name][0], "the tensor that was there, not one like it"
        assert torch.equal(values, before[name][1])


def test_merged_adapters_cost_what_the_base_model_costs() -> None:
    base, model = Model(), Model()
    lora = trained(model)
    costs = []
    for network in (base, model):
        with lora.merged(), FlopCounterMode(display=False) as counter:
            network(INPUT)
        costs.append(counter.get_total_flops())
    assert costs[0] == costs[1] > 0
    assert lora.merged_bytes == 4 * sum(weight.numel() for weight in [*base.first.to_q.parameters()][:1] * 4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_adapters_stay_apart_where_the_sum_would_be_rounded(dtype: torch.dtype) -> None:
    model = Model().to(dtype)
    lora = trained(model)
    apart = model(INPUT.to(dtype))
    with lora.merged():
        assert torch.equal(model(INPUT.to(dtype)), apart)
    assert lora.merged_bytes == 0


def test_switched_off_adapters_are_off_whether_merged_or_not() -> None:
    base, model = Model()(INPUT), Model()
    lora = trained(model)
    changed = model(INPUT)
    with lora.merged():
        together = model(INPUT)
        with lora.disabled():
            assert torch.equal(model(INPUT), base)
        assert torch.equal(model(INPUT), together)
        assert not any(p.requires_grad for p in model.parameters())
    with lora.disabled():
        with lora.merged():
            assert torch.equal(model(INPUT), base)
        assert torch.equal(model(INPUT), base)
        assert not any(p.requires_grad for p in model.parameters())
    assert torch.equal(model(INPUT), changed)


def test_scaled_adapters_are_merged_by_their_scale() -> None:
    model = Model()
    lora = trained(model)
    lora.set_scale(0.5)
    half = model(INPUT)
    with lora.merged():
        torch.testing.assert_close(model(INPUT), half)
        with pytest.raises(ValueError, match="cannot change while they are merged"):
            lora.set_scale(1.0)
        with pytest.raises(ValueError, match="cannot change while they are merged"):
            lora.load(lora.state())


def test_the_scale_leads_from_the_base_to_the_trained_model() -> None:
    base = Model()
    model = nn.ModuleDict({"to_q": nn.Linear(6, 4)})
    model["to_q"].load_state_dict(base.first.to_q.state_dict())
    lora = Lora(model, ["to_q"], 2, torch_stream(0, "lora"))
    nn.init.constant_(lora.parameters()[1], 0.3)
    plain, full = base.first.to_q(INPUT), model["to_q"](INPUT)
    for factor in (0.0, 0.5, 1.0):
        lora.set_scale(factor)
        torch.testing.assert_close(model["to_q"](INPUT), plain + factor * (full - plain))


def test_removed_adapters_leave_the_base_model() -> None:
    base, model = Model(), Model()
    trained(model).remove()
    assert torch.equal(model(INPUT), base(INPUT))
    assert model.state_dict().keys() == base.state_dict().keys()
    inject(model)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_adapters_are_float32_on_a_model_of_any_precision(dtype: torch.dtype) -> None:
    model, exact = Model().to(dtype), Model()
    lora, other = inject(model), inject(exact)
    assert {weight.dtype for weight in lora.parameters()} == {torch.float32}
    assert all(torch.equal(lora.state()[name], weight) for name, weight in other.state().items())
    loss = model(INPUT.to(dtype)).float().square().sum()
    assert {g.dtype for g in torch.autograd.grad(loss, lora.parameters())} == {torch.float32}


def test_the_same_adapter_is_the_same_file(tmp_path: Path) -> None:
    lora = trained(Model())
    saved = set()
    for _ in range(8):
        lora.save(tmp_path / "lora.safetensors")
        saved.add((tmp_path / "lora.safetensors").read_bytes())
    assert len(saved) == 1


def test_a_saved_adapter_is_read_back(tmp_path: Path) -> None:
    model, other = Model(), Model()
    lora = trained(model)
    lora.save(tmp_path / "lora.safetensors")
    with safe_open(tmp_path / "lora.safetensors", "pt") as file:
        metadata = file.metadata()
    assert (metadata["rank"], metadata["alpha"]) == ("2", "2")
    assert json.loads(metadata["targets"]) == ["to_q", "to_out.0"]
    read = Lora.from_file(other, tmp_path / "lora.safetensors")
    assert (read.rank, read.targets) == (2, ("to_q", "to_out.0"))
    assert torch.equal(model(INPUT), other(INPUT))


def test_state_is_a_copy() -> None:
    lora = inject(Model())
    state = lora.state()
    state["first.to_q.lora_B.weight"].fill_(7)
    assert not lora.state()["first.to_q.lora_B.weight"].any()


def test_a_state_that_does_not_fit_is_refused_with_names_and_changes_nothing() -> None:
    lora = inject(Model())
    before = lora.state()
    state = {name: weight + 1 for name, weight in before.items()}
    state["first.to_q.lora_A.weight"] = torch.zeros(3, 6)
    state["third.to_q.lora_A.weight"] = state.pop("second.to_q.lora_A.weight")
    with pytest.raises(UserError) as error:
        lora.load(state, "lora.safetensors")
    assert str(error.value) == (
        "lora.safetensors: lacks second.to_q.lora_A.weight; has an unknown third.to_q.lora_A.weight; "
        "has first.to_q.lora_A.weight of shape [3, 6], not [2, 6]; "
        "use the backbone and lora_rank that it was trained with"
    )
    assert all(torch.equal(before[name], weight) for name, weight in lora.state().items())


def test_many_faults_are_counted() -> None:
    with pytest.raises(UserError, match="and 5 more faults"):
        inject(Model()).load({})


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone.safetensors: does not exist"):
        Lora.from_file(Model(), tmp_path / "gone.safetensors")
    (tmp_path / "text").write_text("not weights")
    with pytest.raises(UserError, match="is not a safetensors file"):
        Lora.from_file(Model(), tmp_path / "text")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="has format None, not 'vader-bench-lora-1'"):
        Lora.from_file(Model(), tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"rank": "x"}, "does not say its rank"),
        ({"rank": "0"}, "does not say its rank"),
        ({"rank": "9" * 5000}, "does not say its rank"),
        ({"rank": "900000"}, "has not the rank 900000"),
        ({"targets": "[" * 100_000}, "does not say its rank and the layers"),
        ({"targets": "3"}, "does not say its rank and the layers"),
        ({"targets": '[""]'}, "does not say its rank and the layers"),
        ({"targets": '["nowhere"]'}, "adapts nowhere, which the model does not have"),
    ],
)
def test_what_a_file_says_of_itself_is_checked(tmp_path: Path, metadata: dict[str, str], said: str) -> None:
    lora = Lora(Model(), ["to_q"], 2, torch.Generator())
    told = {"format": "vader-bench-lora-1", "rank": "2", "targets": '["to_q"]'}
    save_file(lora.state(), tmp_path / "x.safetensors", told)
    Lora.from_file(Model(), tmp_path / "x.safetensors")
    save_file(lora.state(), tmp_path / "x.safetensors", told | metadata)
    with pytest.raises(UserError, match=said):
        Lora.from_file(Model(), tmp_path / "x.safetensors")


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    lora = Lora(Model(), ["to_q"], 2, torch.Generator())
    told = {"format": "vader-bench-lora-1", "rank": "2", "targets": '["to_q"]'}
    name = min(lora.state())
    for odd, said in ((float("nan"), "not finite"), (float("inf"), "not finite")):
        save_file(lora.state() | {name: torch.full_like(lora.state()[name], odd)}, tmp_path / "x", told)
        with pytest.raises(UserError, match=said):
            Lora.from_file(Model(), tmp_path / "x")
    save_file(lora.state() | {name: lora.state()[name].long()}, tmp_path / "x", told)
    with pytest.raises(UserError, match="has not the rank 2"):
        Lora.from_file(Model(), tmp_path / "x")
