"""What a DeviceProfile means: published metadata, or what a DeviceModel says of it (CEL; extra ``cel``).

The operator reads each profile once; agents carry no CEL. Everything here is pure: :func:`compile_models` once per set
of DeviceModels, then :func:`read_profile` per profile.
"""

from mdev_api.reading.models import CompiledModel, ModelProblem, compile_models
from mdev_api.reading.profiles import Reading, read_profile

__all__ = ["CompiledModel", "ModelProblem", "Reading", "compile_models", "read_profile"]
