import pytest

from tests.conftest import save_model, vidgan
from vidgan import config
from vidgan.config import ModelConfig
from vidgan.errors import ConfigError, ModelError, UsageError
from vidgan.generator.synthesis import open_generator
from vidgan.networks.architectures import make_generator


def model(*layers, **sizes):
    sizes = {"width": 8, "height": 8, "z_dim": 5, "colours": 1} | sizes
    return ModelConfig(name="imported", layers=layers, **sizes)


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        (("exec 1",), '"exec 1" after 5 maps of 1x1 is unknown'),
        (("linear 1 8",), "linear 1 8"),
        (("linear 1 8 8", "conv 1 2"), "conv 1 2"),
        (("linear 1 8 8", "upsample cubic"), "upsample cubic"),
        (("linear 1 8 8", "leaky-relu x"), "leaky-relu x"),
        (("linear 1 8 8", "scale 2 1 1"), "scale 2 1 1"),
        (("linear 1 9 9",), "not its 8x8"),
        (("",), '"" after 5 maps'),
        ((f"linear {10**12} {10**12} {10**12}",), "is unknown"),
        (("linear 1 8 8", "conv-transpose 0 4 2 1 0"), "is unknown"),
        (("linear 1 8 8", "conv-transpose 3 2 1 5 0"), "makes maps of -1x-1"),
        (("linear 1 8 8", *10 * ("upsample nearest",)), "makes maps of 8192x8192"),
    ],
)
def test_layers_that_are_not_known_or_make_another_size_are_refused(layers, says, tmp_path):
    with pytest.raises(ModelError, match=says):
        make_generator(model(*layers))
    good = model("linear 1 8 8")
    file = save_model(tmp_path / "g.safetensors", make_generator(good), model(*layers))
    with pytest.raises(ModelError, match=f"g.safetensors.*{says}"):
        open_generator(file)


def test_an_imported_model_is_not_trained(tmp_path):
    with pytest.raises(UsageError, match=r"--model.*cannot be trained"):
        vidgan("train", "--model", "imported")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(config.to_toml(config.Config()).replace("layers = []", 'layers = ["tanh"]'))
    with pytest.raises(ConfigError, match=r"dcgan.*only vidgan import"):
        config.load(recipe)
    recipe.write_text(recipe.read_text().replace('name = "dcgan"', 'name = "imported"', 1))
    sized = recipe.read_text().replace("width = 0", "width = 8").replace("height = 0", "height = 8")
    recipe.write_text(sized)
    with pytest.raises(ConfigError, match=r"model\.layers.*cannot be trained"):
        config.load(recipe)
