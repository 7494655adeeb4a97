from types import SimpleNamespace

import torch

from vidgan.config import Config
from vidgan.training.faults import explained

RANK = SimpleNamespace(world_size=2, global_rank=1, device=torch.device("cpu"))
LOST = RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer")


def test_a_lost_rank_advises_to_resume_only_where_there_is_a_checkpoint(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    fault = str(explained(LOST, Config(), RANK, tmp_path))
    assert "rank 1 of 2 ends" in fault and "--resume" not in fault
    assert "There is no checkpoint yet: start them again." in fault
    last = tmp_path / "checkpoints" / "000000000032.safetensors"
    last.touch()
    fault = str(explained(LOST, Config(), RANK, tmp_path))
    assert f"start all of them with vidgan train --resume {tmp_path}" in fault
    assert f"its last checkpoint is {last}" in fault
    assert "See its message." in str(explained(LOST, Config(), RANK, None))
    assert explained(RuntimeError("a bug"), Config(), RANK, tmp_path) is None
