"""Configurations: presets, inheritance, overrides, and messages about mistakes."""

import pytest
import yaml

from lps_sim.errors import UnknownNameError
from training.config import AugmentConfig, DataConfig, dump_config, load_config, preset_names


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_valid_and_survives_writing_and_reading(name, tmp_path):
    config = load_config(name)
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config, lps="1.2.3"))
    assert path.read_text().startswith("# lps: 1.2.3\n")
    assert load_config(path) == config


def test_the_published_recipe_is_vit_b_16():
    config = load_config("vit-b-16")
    assert (config.optim.rate, config.optim.eps, config.optim.betas) == (8e-6, 1e-3, (0.9, 0.98))
    assert (config.optim.batch * config.optim.accumulate * 4, config.data.frames, config.data.gap) == (32, 8, 4)
    assert config.loss.privacy == {"identity": 0.1}
    assert config.model.freeze_text


def test_a_base_gives_what_the_file_leaves_out(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"base": "tiny", "optim": {"epochs": 3}, "loss": {"privacy": {}}}))
    config, tiny = load_config(path), load_config("tiny")
    assert config.optim.epochs == 3
    assert config.optim.rate == tiny.optim.rate
    assert config.loss.privacy == {}


def test_overrides_are_yaml_values_under_dotted_keys():
    config = load_config("tiny", ["optim.epochs=7", "data.actions=[1, 5]", "loss.privacy={identity: 0.3}", "seed=4"])
    assert (config.optim.epochs, config.data.actions, config.seed) == (7, (1, 5), 4)
    assert config.loss.privacy == {"identity": 0.3}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.epoch=3", "unknown 'epoch'; did you mean 'epochs'"),
        ("dta.size=3", "unknown 'dta'; did you mean 'data'"),
        ("optim.epochs=0", r"optim\.epochs: .*greater than 0, got 0"),
        ("optim.epochs", "override must be key=value, got 'optim.epochs'"),
        ("seed.x=1", "'seed' is a value, not a section"),
        ("augment.crop_area=[0.9, 0.2]", "crop_area must be 0 < low <= high <= 1"),
    ],
)
def test_a_mistaken_override_is_named_with_its_cure(override, message):
    with pytest.raises(ValueError, match=message):
        load_config({"base": "tiny", "seed": 1}, [override])


def test_an_unknown_preset_suggests_the_nearest_and_a_missing_file_is_one():
    with pytest.raises(UnknownNameError, match="did you mean 'vit-b-16'"):
        load_config("vit-b16")
    with pytest.raises(FileNotFoundError):
        load_config("nowhere/mine.yaml")


def test_circular_bases_end_in_an_error(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(f"base: {path}\n")
    with pytest.raises(ValueError, match="circle"):
        load_config(path)


def test_one_name_list_without_the_other_is_refused():
    with pytest.raises(ValueError, match="train and test must be given together"):
        DataConfig(train="names.txt")


def test_configurations_do_not_change_after_construction():
    with pytest.raises(ValueError, match="frozen"):
        AugmentConfig().flip = 0.1
