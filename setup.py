"""The distribution `clipseed`: packages and the console script."""

from setuptools import find_packages, setup

setup(
    name="clipseed",
    version="0.1.0",
    description="Mine video clips and sound for the captions of images.",
    python_requires=">=3.11,<3.12",
    packages=find_packages(
        include=[
            f"{name}*"
            for name in (
                "clipseed",
                "beam_pipeline",
                "index_service",
                "models",
                "transforms",
            )
        ]
    ),
    package_data={"index_service.wire": ["*.proto"]},
    install_requires=[
        "apache-beam[gcp]==2.77.*",
        "av==18.*",
        "flax==0.12.*",
        "google-cloud-storage",
        "grpcio",
        "grpcio-health-checking",
        "grpcio-reflection",
        "jax==0.10.*",
        "numpy==2.4.*",
        "optax",
        "orbax-checkpoint",
        "pillow",
        "prometheus-client",
        "protobuf",
        "pyarrow",
        "pydub==0.25.1",
        "safetensors",
        "scann==1.4.2",
        "setuptools<81",
        "tensorflow==2.20.*",
        "tensorflow-hub==0.16.1",
        "tensorflow-io==0.37.1",
    ],
    entry_points={"console_scripts": ["clipseed = beam_pipeline.cli:main"]},
)
