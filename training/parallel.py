"""Several processes as one run: sharded weights, what all do after a step, and a termination that all obey."""

from __future__ import annotations

import signal
import threading
from enum import IntEnum
from types import FrameType, TracebackType
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor, distributed, nn
from torch.distributed.tensor import DTensor

from .config import TrainConfig
from .model import MSPNet


class Preempted(Exception):
    """SIGTERM ended the run after a whole step; the message says where it stands and how to go on."""


def accelerator_of(config: TrainConfig) -> Accelerator:
    """The processes, device and precision of a run, as ``torchrun`` or ``accelerate launch`` started them."""
    # A part that is switched off leaves its parameters without gradients, which DDP must be told.
    idle = not (config.model.temporal and config.model.prompts)
    return Accelerator(
        cpu=config.device == "cpu",
        mixed_precision="no" if config.optim.precision == "fp32" else config.optim.precision,
        log_with=list(config.tracking) or None,
        project_dir=str(config.out),
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=idle, gradient_as_bucket_view=True)],
    )


def shard(model: MSPNet, device: torch.device) -> MSPNet:
    """Spread weights, gradients and optimiser state over the processes: FSDP, one unit an encoder layer.

    torch's ``fully_shard`` is called directly, as accelerate's FSDP 2 does, since accelerate takes its FSDP settings on
    accelerators only and a run on CPU processes would silently not be sharded.

    Raises
    ------
    ValueError
        Without several processes, or when torch is older than 2.6.
    """
    try:
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
    except ImportError as error:
        raise ValueError(f"parallel: fsdp needs torch 2.6 or newer, got {torch.__version__}") from error
    if not distributed.is_initialized():
        raise ValueError("parallel: fsdp needs several processes: torchrun --nproc-per-node 2 -m cli.main train ...")
    mesh = distributed.init_device_mesh(device.type, (distributed.get_world_size(),))
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.ndim == 0:  # FSDP cannot shard a scalar
                vector = nn.Parameter(parameter.detach().reshape(1), requires_grad=parameter.requires_grad)
                setattr(module, name, vector)
    for module in list(model.modules()):
        if isinstance(module, nn.ModuleList) and len(module) and type(module[0]).__name__.endswith("EncoderLayer"):
            for layer in module:
                fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    register_fsdp_forward_method(model, "encode_text")
    return model


def reshard(model: nn.Module) -> None:
    """Drop gathered weights where they are sharded: an evaluation leaves some behind, which later changes pass by."""
    for module in model.modules():
        drop = getattr(module, "reshard", None)
        if drop is not None:
            drop()


def whole(tensor: Tensor) -> Tensor:
    """A tensor on the CPU, gathered from the processes where it is sharded. Every process must call it."""
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach().cpu()


class Wish(IntEnum):
    """What a process wants after a step; the greatest wish of all is done."""

    GO_ON = 0
    SAVE = 1
    STOP = 2


class Agreement:
    """The greatest wish of all processes, the same on each after the same step.

    With several processes an answer comes one step late: the exchange runs over the CPU beside the next step, so that
    no device waits for it.
    """

    def __init__(self, processes: int) -> None:
        self._group = distributed.new_group(backend="gloo") if processes > 1 else None
        self._asked: tuple[Tensor, Any] | None = None

    def __call__(self, wish: Wish, at_once: bool = False) -> Wish:
        """Tell this process's wish after a step; get what all do now. ``at_once`` waits for the wishes just told."""
        if self._group is None:
            return wish
        answer = self._answer()
        value = torch.tensor([int(wish)])
        self._asked = value, distributed.all_reduce(value, distributed.ReduceOp.MAX, self._group, async_op=True)
        return max(answer, self._answer()) if at_once else answer

    def _answer(self) -> Wish:
        if self._asked is None:
            return Wish.GO_ON
        value, work = self._asked
        work.wait()
        self._asked = None
        return Wish(int(value))


class Termination:
    """Inside, SIGTERM (a scheduler's preemption, ``torchrun`` stopping its processes) is noted instead of obeyed."""

    def __init__(self) -> None:
        self.requested = False
        self._before: Any = None

    def __enter__(self) -> Termination:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)


def leave_termination_to_the_run(worker: int) -> None:
    """For reading processes: schedulers signal every process, and a reader that dies would break the last step."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
