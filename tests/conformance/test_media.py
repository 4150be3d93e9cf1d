"""Sound and video against the `ffmpeg` command and transformers' WhisperFeatureExtractor."""
import json
import os
import pathlib
import subprocess

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pytest
from transformers import WhisperFeatureExtractor

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROBE = ROOT / "build/release/parapet_media_probe"
CLOSE = 1e-4  # largest difference of a log-mel value


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def ffmpeg(*arguments):
    return run("ffmpeg", "-v", "error", "-nostdin", "-y", *arguments)


# --- log-mel ---------------------------------------------------------------------------------------

def features(extractor, waveforms, folder, padding):
    extractor.save_pretrained(folder)
    files = []
    for i, waveform in enumerate(waveforms):
        files.append(folder / f"{i}.f32")
        waveform.astype(np.float32).tofile(files[-1])
    shape = json.loads(run(PROBE, "mel", folder, folder / "out", padding, *files))
    values = np.fromfile(folder / "out", np.float32).reshape(shape)
    mask = np.fromfile(folder / "out.mask", np.int32).reshape(shape[0], shape[2])
    return values, mask


def by_numpy(extractor, waveforms, padding):
    """transformers' own features, by its numpy path: what it computes without torch."""
    extractor._torch_extract_fbank_features = extractor._np_extract_fbank_features
    out = extractor(waveforms, sampling_rate=extractor.sampling_rate, padding=padding,
                    return_attention_mask=True, return_tensors="np")
    return np.asarray(out["input_features"]), np.asarray(out["attention_mask"])


def waveforms(rate=16000):
    random = np.random.default_rng(0)
    seconds = np.arange(rate * 2) / rate
    sweep = 0.6 * np.sin(2 * np.pi * (100 + 1500 * seconds) * seconds)
    quiet = 1e-4 * random.normal(size=rate)
    click = np.zeros(rate)
    click[1234] = 1
    loud = np.clip(random.normal(size=3 * rate + 77), -1, 1)
    late = np.concatenate([np.zeros(rate), 0.5 * np.sin(2 * np.pi * 440 * seconds[:rate])])
    long = 0.3 * random.normal(size=31 * rate)
    return [w.astype(np.float32) for w in (sweep, quiet, click, loud, late, np.zeros(500), long)]


@pytest.mark.parametrize("bins", [80, 128])
@pytest.mark.parametrize("padding", ["chunk", "longest"])
def test_log_mel_equals_transformers(bins, padding, tmp_path):
    extractor = WhisperFeatureExtractor(feature_size=bins, return_attention_mask=True)
    given = waveforms() if padding == "chunk" else waveforms()[:-1]
    ours, our_mask = features(extractor, given, tmp_path, padding)
    theirs, their_mask = by_numpy(extractor, given, {"chunk": "max_length"}.get(padding, padding))
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= CLOSE
    assert np.array_equal(our_mask, their_mask)


@pytest.mark.parametrize("samples", [160, 161, 200, 201, 320, 401, 1599, 1600, 16001])
def test_log_mel_of_short_sounds_mirrors_as_numpy(samples, tmp_path):
    extractor = WhisperFeatureExtractor(feature_size=80, return_attention_mask=True)
    given = [np.random.default_rng(samples).normal(size=samples).astype(np.float32)]
    ours, our_mask = features(extractor, given, tmp_path, "longest")
    theirs, their_mask = by_numpy(extractor, given, "longest")
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= CLOSE
    assert np.array_equal(our_mask, their_mask)


@pytest.mark.parametrize("settings", [dict(n_fft=512, hop_length=128, chunk_length=5),
                                      dict(n_fft=1024, hop_length=320, chunk_length=3, feature_size=64),
                                      dict(sampling_rate=24000, n_fft=600, hop_length=240)])
def test_log_mel_with_other_settings(settings, tmp_path):
    extractor = WhisperFeatureExtractor(**settings)
    given = waveforms(settings.get("sampling_rate", 16000))[:4]
    ours, _ = features(extractor, given, tmp_path, "chunk")
    theirs, _ = by_numpy(extractor, given, "max_length")
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= CLOSE


# --- sound -----------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """A spoken sentence, as espeak-ng writes it: 22,050 Hz, mono."""
    file = tmp_path_factory.mktemp("speech") / "speech.wav"
    run("espeak-ng", "-v", "en", "-w", file, "a dog in front of a house")
    return file


@pytest.mark.parametrize("name,coding", [
    ("s.wav", []), ("s.mp3", ["-b:a", "64k"]), ("s.flac", []), ("s.m4a", ["-c:a", "aac"]),
    ("v.ogg", ["-c:a", "libvorbis"]), ("o.ogg", ["-c:a", "libopus"])])
def test_speech_to_features(name, coding, speech, tmp_path):
    """From the file to the encoder's input: the same numbers as ffmpeg and transformers give."""
    file = tmp_path / name
    ffmpeg("-i", speech, *coding, file)
    facts = json.loads(run(PROBE, "audio", file, tmp_path / "ours"))
    ours = np.fromfile(tmp_path / "ours", np.float32)
    theirs = np.frombuffer(ffmpeg("-i", file, "-ac", "1", "-ar", "16000", "-f", "f32le", "-"),
                           np.float32)
    assert facts["damaged_packets"] == 0
    assert ours.shape == theirs.shape and len(ours) > 16000
    assert np.abs(ours - theirs).max() <= 1e-6
    extractor = WhisperFeatureExtractor(feature_size=128, return_attention_mask=True)
    mel, mask = features(extractor, [ours], tmp_path, "chunk")
    expected, expected_mask = by_numpy(extractor, [theirs], "max_length")
    assert np.abs(mel - expected).max() <= CLOSE
    assert np.array_equal(mask, expected_mask)
