from setuptools import find_packages, setup

# One torch for all extras: PyPI's torchvision needs the torch of the same release.
TORCH = ["torch>=2.6", "torchvision>=0.21"]

EXTRAS = {
    "diffusion": [
        *TORCH,
        "diffusers>=0.36",
        "transformers>=4.57.1",  # 4.57.0 was withdrawn
        "accelerate>=1.0",
        "safetensors>=0.4",
        "scipy>=1.11",
    ],
    # lvis: both frameworks' LVIS loaders import it.
    "mmdet": [
        *TORCH,
        "onedl-mmdetection>=3.5.1",
        "onedl-mmengine>=0.10.12",
        "onedl-mmcv>=2.3.6",
        "lvis>=0.5.3",
    ],
    # Detectron2 itself is not on PyPI; its own install page says how to get it.
    # timm: its Swin takes a layer from there.
    "detectron2": [*TORCH, "centernet2>=1.0.post20221121", "lvis>=0.5.3", "timm>=0.9"],
    # msgspec reads results, numba accumulates AP under resampled images.
    "eval": ["hotcoco", "matplotlib>=3.8", "msgspec>=0.18", "numba>=0.60"],
    # fsspec and s3fs: --out s3://...
    "scale": ["ray>=2.40", "fsspec>=2025.3", "s3fs>=2025.3"],
    # moto: an S3-compatible server for the tests, which flask serves.
    "dev": [
        "pytest>=8",
        "pytest-xdist[psutil]>=3.6",
        "hypothesis>=6.100",
        "s3fs>=2025.3",
        "moto[s3]>=5",
        "flask>=3",
        "flask-cors>=5",
    ],
    # A fuzzer led by coverage; it has wheels for Linux.
    "fuzz": ["atheris>=3; sys_platform == 'linux'"],
    "lint": ["ruff>=0.17", "mypy>=2.4"],
    "docs": ["mkdocs>=1.6"],
}

setup(
    name="mf-plugin",
    version="0.1.0",
    description="Labelled training images for rare categories from text-to-image diffusion, "
    "for MMDetection and Detectron2",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["mf_plugin", "mf_plugin.*"]),
    include_package_data=True,
    package_data={"mf_plugin": ["assets/**/*", "evaluation/templates/*", "generation/templates/*"]},
    install_requires=[
        "numpy>=1.26",
        "pillow>=10",
        "opencv-python-headless>=4.9",
        "pycocotools>=2.0.8",
        "tqdm>=4.66",
        "filelock>=3.13",
        "threadpoolctl>=3.5",
        "jinja2>=3.1",
    ],
    extras_require=EXTRAS,
)
