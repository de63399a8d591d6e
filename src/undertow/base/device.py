"""Device, number type and threads: chosen once, the same way, for every command.

torch is imported by the functions that need it, since `undertow.base` is imported by all there is.
"""

from typing import TYPE_CHECKING

from undertow.base.errors import SettingsError

if TYPE_CHECKING:
    import torch

MOST_THREADS = 4096


def resolve_device(name: str | None = None) -> "torch.device":
    """Returns the device called `name`, or the best one of this machine for `None` or "auto".

    Raises:
        SettingsError: if the device does not exist here.
    """
    import torch

    if name is None or name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        # Copying back, since a device such as "meta" makes tensors that hold nothing.
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(f"device '{name}' is not available on this machine; use --device cpu or auto") from error
    return device


def resolve_dtype(name: str | None, device: "torch.device") -> "torch.dtype":
    """Returns the number type called `name`, or the default of `device` for `None` or "auto".

    The default is bfloat16 on a GPU and on a CPU with AVX-512 bfloat16 or AMX, float32 elsewhere. float16 is not
    offered: the self-attention scores of Stable Diffusion 2.1 overflow in it.
    """
    import torch

    names = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if name is not None and name != "auto":
        if name not in names:
            raise SettingsError(f"dtype '{name}' is not one of {', '.join(names)}, auto")
        return names[name]
    if device.type == "cuda":
        return torch.bfloat16
    if device.type == "cpu" and torch.cpu._is_avx512_bf16_supported():
        return torch.bfloat16
    return torch.float32


def set_threads(count: int | None) -> None:
    """Limits torch to `count` CPU threads; `None` leaves torch's own choice."""
    if count is not None:
        if not 1 <= count <= MOST_THREADS:
            raise SettingsError(f"--threads is {count}; give 1 to {MOST_THREADS}")
        import torch

        torch.set_num_threads(count)
