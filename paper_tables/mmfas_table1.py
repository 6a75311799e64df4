"""mmFAS, Table 1: trained on CeFA, tested on the rest of it and on three other data sets; and Figure 5."""

from paper_tables.plan import Figure, Method, Table
from paper_tables.published import FOLDER

SWITCH = ("--preset", "table2", "--fusion", "switch")


def _trivial(name: str, label: str, seeded: bool) -> Method:
    return Method(name, label, "reference.rivals.trivial", ("--predictor", name), None, False, seeded)


TABLE = Table(
    name="mmfas-table1",
    title="mmFAS, Table 1: comparison with other methods, trained on CeFA",
    published=FOLDER / "mmfas_table1.toml",
    sets={"C": "CeFA", "S": "MmFA", "W": "WMCA", "H": "HQ-WMCA"},
    methods=(
        Method("deeppixbis", "DeepPixBiS", "reference.rivals.deeppixbis", published="deeppixbis"),
        Method("a_deeppixbis", "A-DeepPixBis", None, published="a_deeppixbis"),
        Method("resnet50", "ResNet-50", "reference.rivals.resnet50", published="resnet50"),
        Method("mlp_mixer_s16", "MLP-Mixer-S/16", "reference.rivals.mlp_mixer_s16", published="mlp_mixer_s16"),
        Method("conv_mlp", "ConvMLP", None, published="conv_mlp"),
        Method("pipenet", "PipeNet", None, published="pipenet"),
        Method("feathernet", "FeatherNet", None, published="feathernet"),
        Method("flexmodal", "FlexModal-FAS", None, published="flexmodal"),
        Method("facebagnet", "FaceBagNet", None, published="facebagnet"),
        Method("vit_s16", "ViT-S/16", "reference.rivals.vit_s16", published="vit_s16"),
        Method("mmfas", "mmFAS (ours)", "reference.mmfas", SWITCH, published="mmfas"),
        _trivial("all_spoof", "always “spoof”", False),
        _trivial("all_live", "always “live”", False),
        _trivial("coin", "a fair coin", True),
    ),
    figure=Figure("figure5", "FPR–FNR curves, as in mmFAS, Figure 5"),
)
