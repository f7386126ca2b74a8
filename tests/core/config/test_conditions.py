"""Keys that can have no effect are refused where a user gives them, and kept where they are stored."""

import pytest

from ead_core.config import Config, load_config, parse_overrides
from ead_core.config.reference import entries
from ead_core.errors import ConfigError

JUDGE = "training.objective=predict conditioning.properties=mu"
IDLE = {
    "sampler.interval": "sampler.policy=synchronous sampler.interval=20",
    "sampler.async_ratio": "sampler.policy=synchronous sampler.async_ratio=0.3",
    "sampler.max_pauses": "sampler.policy=synchronous sampler.max_pauses=10",
    "sampler.pause_mode": "sampler.policy=manual sampler.pause_mode=hold",
    "sampler.group_size": "sampler.group_size=3",
    "sampler.lag": "sampler.policy=random sampler.lag=2",
    "sampler.advance_rate": "sampler.advance_rate=0.5",
    "sampler.together": "sampler.policy=manual sampler.together=true",
    "sampler.history_window": "sampler.policy=random sampler.history_window=3",
    "sampler.convergence": "sampler.policy=random sampler.convergence=mean",
    "sampler.velocity": "sampler.policy=manual sampler.velocity=x0",
    "sampler.decision": "sampler.velocity=mean sampler.decision=previous",
    "sampler.grid": "sampler.grid=quadratic",
    "sampler.guidance_levels": "sampler.guidance_levels=[0.1,0.5]",
    "sampler.property_levels": "sampler.property_levels=[0.1,0.3]",
    "sampler.temperature_width": "sampler.temperature_width=0.3",
    "sampler.temperature_levels": "sampler.temperature_levels=[0,0.5]",
    "sampler.corrector_mode": "sampler.corrector_mode=repeat",
    "sampler.corrector_levels": "sampler.corrector_levels=[0,0.5]",
    "sampler.corrector_channels": "sampler.corrector_channels=types",
    "sampler.parity_levels": "sampler.parity_levels=[0.05,0.3]",
    "sampler.formula_guidance": "sampler.composition=told sampler.formula_guidance=2",
    "sampler.formula_levels": "sampler.formula_guidance=0 sampler.formula_levels=[0.2,0.4]",
    "sampler.formula_restarts": "sampler.composition=told sampler.formula_restarts=2",
    "sampler.repair_level": "sampler.repair_attempts=0 sampler.repair_level=0.4",
    "sampler.repair_extent": "sampler.repair_attempts=0 sampler.repair_extent=local",
    "sampler.repair_hops": "sampler.repair_attempts=1 sampler.repair_hops=2",
    "sampler.branches": "sampler.solver=ddim sampler.branches=8",
    "sampler.branch_level": "sampler.branch_level=0.4",
    "sampler.pruning_levels": "sampler.pruning_levels=[0.2,0.1]",
    "sampler.pruning_kept": "sampler.pruning_kept=0.3",
    "training.muon_learning_rate": "training.optimizer=adamw training.muon_learning_rate=0.01",
    "training.level_focus": f"{JUDGE} training.level_focus=0.5",
    "training.level_power": f"{JUDGE} training.level_power=2",
    "training.fragments": f"{JUDGE} training.fragments=0.2",
    "training.evaluate_molecules": f"{JUDGE} training.evaluate_molecules=9",
    "training.patience": f"{JUDGE} training.patience=3",
    "conditioning.drop_all": "conditioning.drop_all=0.2",
    "conditioning.drop_each": "conditioning.drop_each=0.2",
    "conditioning.drop_others": "conditioning.drop_others=0.2",
    "conditioning.drop_measured": "conditioning.drop_measured=0.2",
    "conditioning.predictor": "conditioning.predictor=qm9-judge",
    "conditioning.half": "conditioning.half=first",
    "diffusion.offset_mode": "diffusion.interval=0 diffusion.offset_mode=scaled",
    "diffusion.dummy_rule": "diffusion.dummy_rule=late",
    "network.edge_features": "network.kind=egnn network.edge_features=32",
    "network.vectors": "network.kind=dit network.vectors=4",
    "network.heads": "network.heads=2",
    "network.modulation": "network.modulation=block",
    "network.compose": "network.symmetrise=haar network.compose=released",
    "network.frame_features": "network.frame_features=32",
    "network.frame_layers": "network.symmetrise=haar network.frame_layers=2",
    "network.frame_heads": "network.frame_heads=2",
    "sampler.frames": "sampler.frames=call",
    "network.self_conditioning": f"{JUDGE} network.self_conditioning=true",
    "training.huber_width": "training.huber_width=0.1",
    "training.xbar": "training.xbar=selfcond",
    "training.anchor": "training.anchor=0.3",
    "training.critic_updates": "training.critic_updates=5",
    "training.critic_rate": "training.objective=denoise training.critic_rate=3",
    "training.teacher_temperature": "training.teacher_temperature=0.5",
}


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("data: {path: x.npz}\n")
    return path


def test_every_condition_is_tested():
    assert set(IDLE) == {key for key, entry in entries(Config).items() if entry.conditions}


@pytest.mark.parametrize("key", IDLE)
def test_an_override_without_effect_is_refused(recipe, key):
    with pytest.raises(ConfigError, match=rf"^{key} has no effect with \S+; it needs .*\.$"):
        load_config(recipe, IDLE[key].split())


def test_the_refusal_says_what_is_needed(recipe):
    with pytest.raises(ConfigError) as error:
        load_config(recipe, IDLE["sampler.max_pauses"].split())
    assert str(error.value) == (
        "sampler.max_pauses has no effect with sampler.policy=synchronous; it needs sampler.policy=adaptive or random."
    )


def test_a_judge_has_no_noise_to_set(recipe):
    with pytest.raises(ConfigError, match=r"diffusion\.interval has no effect with training\.objective=predict"):
        load_config(recipe, [*JUDGE.split(), "diffusion.interval=9"])


def test_keys_that_are_given_together_are_held_against_each_other(recipe):
    config = load_config(
        recipe, ["sampler.lag=3", "sampler.policy=manual", "sampler.steps=50", "sampler.grid=quadratic"]
    )
    assert (config.sampler.lag, config.sampler.grid) == (3, "quadratic")


def test_a_recipe_may_list_defaults_but_no_other_value_without_effect(recipe):
    recipe.write_text("data: {path: x.npz}\ntraining: {muon_learning_rate: 0.012}\n")
    load_config(recipe)
    recipe.write_text("data: {path: x.npz}\ntraining: {muon_learning_rate: 0.01}\n")
    with pytest.raises(ConfigError, match=r"training\.muon_learning_rate has no effect with training\.optimizer=adamw"):
        load_config(recipe)


def test_an_override_may_leave_keys_of_the_recipe_without_effect(recipe):
    recipe.write_text("data: {path: x.npz}\ntraining: {optimizer: muon, muon_learning_rate: 0.01}\n")
    assert load_config(recipe, ["training.optimizer=adamw"]).training.muon_learning_rate == 0.01


def test_a_recipe_may_hold_sampler_settings_for_later_requests(recipe):
    recipe.write_text("data: {path: x.npz}\nsampler: {guidance_levels: [0.1, 0.4]}\n")
    assert load_config(recipe).sampling({"guidance": 2}).guidance_levels == (0.1, 0.4)


def test_a_request_may_leave_stored_settings_without_effect():
    stored = Config(data={"path": "x.npz"}).override({"sampler.max_pauses": 5, "sampler.history_window": 3})
    assert stored.sampling({"policy": "synchronous"}).policy == "synchronous"
    with pytest.raises(ConfigError, match=r"sampler\.max_pauses has no effect"):
        stored.sampling({"policy": "synchronous", "max_pauses": 5})


def test_stored_recipes_load_whatever_has_an_effect():
    stored = Config(data={"path": "x.npz"}).override(parse_overrides(" ".join(IDLE.values()).split()))
    assert Config(**stored.model_dump()) == stored


def test_what_has_an_effect_is_what_is_not_refused():
    config = Config(data={"path": "x.npz"}).override({"sampler.policy": "manual"})
    effective = config.in_effect("sampler")
    assert {"policy", "group_size", "lag", "solver"} <= set(effective)
    assert not {"max_pauses", "advance_rate", "grid", "guidance_levels"} & set(effective)
    assert config.sampling(effective) == config.sampler
