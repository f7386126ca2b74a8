"""The compiled edge operation against PyTorch's in double precision, and who computes when it is not to be had."""

import ctypes
import logging

import pytest
import torch

from ead_core.errors import ConfigError
from ead_core.networks.edges import EdgeWeights, edge_network
from ead_core.networks.native import edges as native_edges
from ead_core.networks.native import library as native
from ead_core.networks.native.build import BuildError, shared_library
from ead_core.networks.native.edges import native_suits
from ead_core.notes import noted

SIZES = [  # molecules, atoms, hidden channels, distances, basis functions, projections
    (2, 1, 16, 2, 1, 1),
    (3, 2, 32, 2, 16, 9),
    (2, 29, 64, 2, 1, 1),
    (1, 181, 16, 1, 32, 3),
    (2, 7, 256, 3, 1, 5),
]


@pytest.fixture
def chosen(compiled, monkeypatch):
    """Sets EAD_EDGE_KERNEL; starts with `native`."""
    monkeypatch.setenv(native.VARIABLE, "native")
    return lambda choice: monkeypatch.setenv(native.VARIABLE, choice)


@pytest.fixture
def forgotten():
    """Nothing compiled is loaded yet, before the test and after."""
    native._library.cache_clear()
    yield
    native._library.cache_clear()


def fused(inputs, edges):
    return edge_network(*inputs[:3], EdgeWeights(*inputs[3:]), edges)


def results(inputs, edges):
    """Outputs, and gradients of all inputs under fixed gradients of the outputs."""
    outputs = fused(inputs, edges)
    weights = [torch.linspace(0.5, 1, t.numel(), dtype=torch.float64).to(t).view_as(t) for t in outputs]
    return [*(t.detach() for t in outputs), *torch.autograd.grad(outputs, inputs, weights)]


@pytest.mark.parametrize("gathers", [True, False])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_values_and_gradients_are_those_of_double_precision(chosen, make_inputs, make_edges, sizes, gathers):
    inputs = make_inputs(sizes)
    edges = make_edges(*sizes[:2]) if gathers else None
    exact = results([t.detach().double().requires_grad_() for t in inputs], edges if edges is None else edges.double())
    for ours, theirs in zip(results(inputs, edges), exact, strict=True):
        scale = float(theirs.abs().max()) if theirs.numel() else 0.0
        assert torch.allclose(ours.double(), theirs, atol=1e-5 * max(scale, 1.0), rtol=0)


@pytest.mark.parametrize("rounds", [False, True])
def test_results_depend_neither_on_threads_nor_on_other_molecules(chosen, make_inputs, make_edges, rounds):
    inputs, edges = make_inputs((5, 19, 32, 2, 16, 9)), make_edges(5, 19)
    threads = torch.get_num_threads()
    with torch.autocast("cpu", torch.bfloat16, enabled=rounds):
        first = results(inputs, edges)
        try:
            torch.set_num_threads(3)
            assert all(torch.equal(a, b) for a, b in zip(first, results(inputs, edges), strict=True))
        finally:
            torch.set_num_threads(threads)
        for index in range(5):
            alone = [t[index : index + 1] for t in inputs[:3]] + inputs[3:]
            for ours, theirs in zip(fused(alone, edges[index : index + 1]), first[:2], strict=True):
                assert torch.equal(ours[0], theirs[index])


def kept_by(operation):
    """Numbers of elements of the tensors that `operation` keeps for its backward pass."""
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        operation()
    return kept


@pytest.mark.parametrize(("hidden", "count"), [(32, 0), (64, 1)])
def test_wide_edges_keep_one_tensor_up_to_a_size(chosen, make_inputs, make_edges, monkeypatch, hidden, count):
    inputs, edges, size = make_inputs((3, 19, hidden, 2, 1, 1)), make_edges(3, 19), 3 * 19 * 19 * hidden
    assert sum(numel >= size for numel in kept_by(lambda: fused(inputs, edges))) == count
    expected = results(inputs, edges)
    monkeypatch.setattr(native_edges, "KEPT_BYTES", 4 * size - 1)
    assert max(kept_by(lambda: fused(inputs, edges))) < size
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(results(inputs, edges), expected, strict=True))


def test_views_and_missing_gradients_are_accepted(chosen, make_inputs, make_edges):
    inputs, edges = make_inputs((2, 6, 16, 2, 1, 1)), make_edges(2, 6)
    expected = results(inputs, edges)
    strided = [t.detach().mT.contiguous().mT.requires_grad_() if t.dim() > 1 else t for t in inputs]
    assert not strided[0].is_contiguous()
    assert all(torch.equal(a, b) for a, b in zip(results(strided, edges), expected, strict=True))
    inputs[2].requires_grad_(False)
    (gradient,) = torch.autograd.grad(fused(inputs, edges)[1].square().sum(), inputs[:1])
    assert torch.isfinite(gradient).all()
    with torch.inference_mode():
        assert torch.equal(fused(inputs, edges)[0], expected[0])


def test_what_is_not_a_number_stays_so(chosen, make_inputs, make_edges):
    inputs = make_inputs((2, 3, 16, 2, 16, 1))
    inputs[0].data[0, 0, 0] = torch.nan
    projections, gathered = fused(inputs, make_edges(2, 3))
    assert projections[0, 0].isnan().all()
    assert gathered[0, 0].isnan().all()
    assert torch.isfinite(projections[1]).all()


def test_what_does_not_fit_is_left_to_pytorch(chosen, make_inputs, caplog):
    caplog.set_level(logging.INFO)
    native._tell_of_shape.cache_clear()
    fits = make_inputs((2, 3, 16, 2, 1, 1))
    assert native_suits(None, fits)
    for sizes in ((2, 3, 24, 2, 1, 1), (2, 3, 16, 2, 10, 1), (0, 3, 16, 2, 1, 1)):
        inputs = make_inputs(sizes)
        assert not native_suits(None, inputs)
        assert fused(inputs, None)[0].shape == (*inputs[2].shape[:3], 1)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "PyTorch computes edges of 24 channels and 1 functions per distance",
        "PyTorch computes edges of 16 channels and 10 functions per distance",
    ]
    assert not native_suits(None, make_inputs((2, 3, 16, 2, 1, 1), torch.float64))
    chosen("torch")
    assert not native_suits(None, fits)


def test_without_a_working_compiler_pytorch_takes_over_and_says_so_once(forgotten, make_inputs, monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "false")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(native.VARIABLE, "auto")
    inputs = make_inputs((2, 3, 16, 2, 1, 1))
    told: list[str] = []
    with noted(told.append):
        for _ in range(2):
            fused(inputs, None)
    (sentence,) = told
    assert "PyTorch computes the edges" in sentence
    assert "false" in sentence
    monkeypatch.setenv(native.VARIABLE, "native")
    with pytest.raises(ConfigError, match="EAD_EDGE_KERNEL is native, but"):
        fused(inputs, None)


def test_an_unknown_choice_is_refused(make_inputs, monkeypatch):
    monkeypatch.setenv(native.VARIABLE, "fast")
    with pytest.raises(ConfigError, match="must be one of auto, torch, native, not 'fast'"):
        fused(make_inputs((2, 3, 16, 2, 1, 1)), None)


def test_a_library_is_compiled_once_per_state_of_its_files_and_compiler(compiled, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "numbers"
    folder.mkdir()
    (folder / "one.cpp").write_text('#include "number.h"\nextern "C" int one() { return NUMBER; }')
    (folder / "two.cpp").write_text('#include "number.h"\nextern "C" int two() { return 2 * NUMBER; }')
    (folder / "number.h").write_text("#define NUMBER 1")
    first = shared_library(folder)
    written = first.stat().st_mtime_ns
    assert shared_library(folder) == first
    assert first.stat().st_mtime_ns == written
    (folder / "number.h").write_text("#define NUMBER 10")
    second = shared_library(folder)
    assert sorted(path.name for path in first.parent.iterdir()) == sorted([first.name, second.name])
    libraries = [ctypes.CDLL(str(path)) for path in (first, second)]
    assert [(library.one(), library.two()) for library in libraries] == [(1, 2), (10, 20)]


def test_reasons_for_having_no_library_are_sentences(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "broken.cpp").write_text("not C++")
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(BuildError, match="no-such-compiler cannot be run"):
        shared_library(tmp_path)
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match="there is no C\\+\\+ compiler"):
        shared_library(tmp_path)
