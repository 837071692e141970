"""Where networks work: on one device, with all that they make, and in every process that was told of it."""

from __future__ import annotations

import pytest
import torch

from homolog.errors import BadInput
from homolog.features import sp3d_tiles
from homolog.kernels.devices import device, in_use, placed, using_device
from homolog.kernels.threads import using_threads
from homolog.nets.configs import BEST_PATCH, PAPER_PATCH, SP3D_NETS
from homolog.nets.patch import PatchNet
from homolog.nets.sp3d import Sp3dNet
from homolog.parallel import map_cases

# It has no numbers, and refuses to be mixed with the processor's, as a GPU does.
META = torch.device("meta")


def told(_: int) -> str:
    return device()


def test_a_network_stays_on_the_processor_unless_a_caller_says_otherwise():
    network = torch.nn.Linear(1, 1)
    assert placed(network) is network and device() == "cpu"
    with using_device("auto"):
        assert device() == "auto" and in_use() == ("cuda" if torch.cuda.is_available() else "cpu")
    assert device() == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    with using_device("cuda"), pytest.raises(BadInput, match="no GPU"):
        placed(torch.nn.Linear(1, 1))


@pytest.mark.parametrize("processes", [1, 2])
def test_other_processes_are_told(processes):
    with using_device("auto"):
        assert {said for _, said in map_cases(told, [1, 2], processes=processes)} == {"auto"}


@pytest.mark.parametrize("config", [BEST_PATCH, PAPER_PATCH])
def test_a_patch_network_makes_all_it_needs_on_its_device(config):
    network = PatchNet(config).eval().to(META)
    cubes = torch.zeros(4, 1 + len(config.wider), *(3 * [config.side]), device=META)
    assert network(cubes).device == META
    with pytest.raises(RuntimeError, match="device"):
        network(torch.zeros(cubes.shape))


@pytest.mark.parametrize("width", SP3D_NETS)
def test_sp3d_makes_all_it_needs_on_its_device(width):
    network = Sp3dNet(SP3D_NETS[width]).eval().to(META)
    given = torch.zeros(1, 1, 32, 32, 32, device=META)
    with torch.inference_mode(), using_threads(1):
        levels = network.levels(given)
        owner = torch.zeros(5, dtype=torch.int64, device=META)
        made = [
            network.detector(levels),
            network.descriptor(levels),
            network.described_at(levels, torch.zeros(5, 3, device=META), owner),
            sp3d_tiles.tiled(network.pairs[0], given, 16),
            sp3d_tiles.log_likely(network, levels, 64),
        ]
    assert {one.device for one in made} == {META}
