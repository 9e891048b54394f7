"""Import of NIR, the exchange format of spiking networks: from a file or records to float populations. No torch.

`from_snntorch`, `from_norse`, `from_spikingjelly` and `from_sinabs` make the same records from a network's modules.
"""

from .norse import from_norse
from .sinabs import from_sinabs
from .snntorch import from_snntorch
from .spikingjelly import from_spikingjelly

__all__ = ["from_norse", "from_sinabs", "from_snntorch", "from_spikingjelly"]
