"""Several streams make the molecules of one, also where a process dies, and share what one alone cannot hold."""

import itertools
import os
import signal
import warnings

import numpy as np
import pytest

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.diffusion.policy import Synchronous
from ead_core.errors import ConfigError
from ead_core.notes import Note
from ead_core.sampling.generation import fulfil
from ead_core.sampling.pieces import cut
from ead_core.sampling.requests import Request, prepare, sampler_config
from ead_core.sampling.streams import Streams, streams_for

SIZES = (4, 5, 6)


class Refused:
    """A piece of work that no engine takes."""

    def __len__(self):
        return 1

    def enter(self, engine):
        raise ConfigError("there is nothing to be made.")


@pytest.fixture
def prepared(make_checkpoint):
    model = load_checkpoint(make_checkpoint())
    settings = sampler_config(model, {"policy": "synchronous", "batch_size": 6, "steps": 10})
    return model, prepare(model, Request(24, settings, 3, 100, SIZES))


def ready(streams):
    """The stream that is not of this process, once it has room."""
    (other,) = streams._others
    while not streams.ready:
        streams.step()
    return other


def all_of(streams):
    made = {}
    while streams.busy:
        made |= streams.step()
    return {int(id): molecules[n] for molecules in made.values() for n, id in enumerate(molecules.properties["id"])}


def differences(alone, made):
    assert sorted(made) == alone.properties["id"].tolist()
    return [abs(made[100 + n].positions - molecule.positions).max() for n, molecule in enumerate(alone)]


def test_streams_make_what_one_makes_and_outlive_a_process(prepared):
    model, wanted = prepared
    alone = fulfil(model, wanted)
    with Streams(model, wanted.request.sampler, 2) as streams:
        other = ready(streams)
        for piece in cut(wanted, 2):
            streams.submit(piece)
        made = all_of(streams)
        assert max(differences(alone, made)) < 1e-4
        assert 0 < streams.finished - streams._here.engine.finished < 24, "one stream did everything"

        for piece in cut(wanted, 2):
            streams.submit(piece)
        streams._share()
        assert other.held
        os.kill(other._process.pid, signal.SIGKILL)
        with pytest.warns(Note, match=r"ended \(exit code -9\); the others do its work"):
            again = all_of(streams)
        assert max(differences(alone, again)) < 1e-4
        assert not streams._others


def test_what_is_refused_elsewhere_is_refused_here(prepared, copies, monkeypatch):
    monkeypatch.setattr("ead_core.sampling.streams.OneThreadEach", lambda: copies)
    model, wanted = prepared
    with Streams(model, wanted.request.sampler, 2) as streams:
        ready(streams)
        streams._here.room = 0
        streams.submit(Refused())
        with pytest.raises(ConfigError, match="nothing to be made"):
            all_of(streams)


def test_a_request_gets_as_many_streams_as_it_is_worth(prepared):
    model, wanted = prepared
    assert streams_for(model, wanted, 8) == 8
    assert streams_for(model, wanted, 100) == 24
    settings = wanted.request.sampler
    least = next(gib for gib in np.geomspace(1e-7, 1, 200) if not refused(model, settings, gib))
    tight = settings.model_copy(update={"memory_budget": 2.5 * least})
    assert streams_for(model, prepare(model, Request(24, tight, sizes=SIZES)), 8) == 2
    own = prepare(model, Request(24, settings, sizes=SIZES, policy=Synchronous()))
    assert streams_for(model, own, 8) == 1


def refused(model, settings, gib):
    try:
        prepare(model, Request(1, settings.model_copy(update={"memory_budget": gib}), sizes=(max(SIZES),)))
    except ConfigError:
        return True
    return False


def test_pieces_are_all_molecules_of_nearly_equal_size(prepared):
    _, wanted = prepared
    pieces = list(cut(wanted, 5))
    assert sorted(int(id) for piece in pieces for id in piece.start.ids) == list(range(100, 124))
    assert [len(piece) for piece in pieces] == [5, 5, 5, 5, 4]
    ends = [(piece.start.sizes.min(), piece.start.sizes.max()) for piece in pieces]
    assert all(later[1] <= earlier[0] for earlier, later in itertools.pairwise(ends))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(fulfil(*prepared)) == 24
