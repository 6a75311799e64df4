"""Reflectances of the materials in a face triplet, from blue to 1650 nm.

Diffuse reflectances in linear units, 0 to 1. Only the ordering and rough size of the values is claimed (skin
darkens with melanin below about 900 nm and goes nearly black in the water bands above 1400 nm; paper and dye
ink are bright in the infrared, carbon ink and display panels are dark there). No entry is a measurement.
"""

import numpy as np

Array = np.ndarray

# Wavelengths in nm after the three colours; "850" also stands for the 860 and 870 nm lamps.
BANDS = ("R", "G", "B", "660", "780", "850", "940", "1050", "1200", "1300", "1450", "1550", "1650")

_TABLE = {
    #                 R     G     B     660   780   850   940   1050  1200  1300  1450  1550  1650
    "skin_light": (0.62, 0.44, 0.34, 0.64, 0.63, 0.61, 0.55, 0.50, 0.33, 0.29, 0.07, 0.10, 0.14),
    "skin_dark": (0.150, 0.085, 0.058, 0.19, 0.34, 0.44, 0.46, 0.45, 0.30, 0.27, 0.07, 0.09, 0.13),
    "sclera": (0.42, 0.39, 0.36, 0.58, 0.56, 0.54, 0.42, 0.36, 0.16, 0.12, 0.05, 0.05, 0.07),
    "iris_brown": (0.075, 0.040, 0.022, 0.12, 0.18, 0.20, 0.17, 0.15, 0.08, 0.07, 0.04, 0.04, 0.05),
    "iris_blue": (0.13, 0.19, 0.25, 0.13, 0.14, 0.15, 0.13, 0.12, 0.07, 0.06, 0.04, 0.04, 0.05),
    "iris_green": (0.12, 0.14, 0.07, 0.14, 0.16, 0.17, 0.14, 0.13, 0.07, 0.06, 0.04, 0.04, 0.05),
    "pupil": (0.012, 0.012, 0.014, 0.02, 0.03, 0.04, 0.04, 0.04, 0.03, 0.03, 0.02, 0.02, 0.02),
    "teeth": (0.66, 0.61, 0.52, 0.66, 0.64, 0.62, 0.55, 0.50, 0.40, 0.36, 0.16, 0.18, 0.22),
    "mouth_inside": (0.10, 0.025, 0.025, 0.13, 0.16, 0.17, 0.15, 0.13, 0.06, 0.05, 0.03, 0.03, 0.03),
    "hair_black": (0.022, 0.019, 0.018, 0.03, 0.05, 0.08, 0.14, 0.20, 0.26, 0.29, 0.27, 0.29, 0.30),
    "hair_brown": (0.085, 0.052, 0.032, 0.11, 0.17, 0.22, 0.28, 0.33, 0.36, 0.37, 0.31, 0.33, 0.34),
    "hair_blond": (0.36, 0.25, 0.13, 0.40, 0.44, 0.46, 0.47, 0.48, 0.46, 0.45, 0.36, 0.38, 0.39),
    "hair_grey": (0.22, 0.21, 0.20, 0.30, 0.38, 0.38, 0.39, 0.39, 0.38, 0.37, 0.31, 0.33, 0.34),
    "paper": (0.80, 0.80, 0.79, 0.82, 0.84, 0.85, 0.85, 0.84, 0.82, 0.80, 0.68, 0.71, 0.73),
    "carbon": (0.040, 0.040, 0.042, 0.05, 0.06, 0.07, 0.07, 0.07, 0.07, 0.07, 0.06, 0.06, 0.06),
    "cloth": (0.70, 0.70, 0.69, 0.72, 0.72, 0.72, 0.71, 0.70, 0.66, 0.65, 0.56, 0.60, 0.62),
    "plaster": (0.70, 0.66, 0.60, 0.70, 0.70, 0.70, 0.69, 0.68, 0.66, 0.65, 0.56, 0.60, 0.62),
    "resin": (0.66, 0.50, 0.40, 0.67, 0.70, 0.71, 0.70, 0.69, 0.62, 0.62, 0.52, 0.56, 0.54),
    "silicone": (0.60, 0.43, 0.33, 0.62, 0.64, 0.64, 0.63, 0.62, 0.52, 0.55, 0.48, 0.52, 0.46),
    "mannequin": (0.66, 0.50, 0.40, 0.68, 0.70, 0.71, 0.70, 0.68, 0.60, 0.62, 0.52, 0.58, 0.50),
    "white_plastic": (0.78, 0.78, 0.77, 0.78, 0.78, 0.78, 0.77, 0.76, 0.68, 0.70, 0.60, 0.64, 0.58),
    "panel": (0.035, 0.036, 0.040, 0.04, 0.05, 0.055, 0.06, 0.06, 0.06, 0.06, 0.05, 0.05, 0.05),
    "bezel": (0.030, 0.030, 0.032, 0.03, 0.06, 0.09, 0.10, 0.10, 0.09, 0.09, 0.08, 0.08, 0.08),
    "frame": (0.035, 0.030, 0.030, 0.05, 0.10, 0.16, 0.20, 0.22, 0.22, 0.22, 0.18, 0.20, 0.20),
    "tattoo_dye": (0.06, 0.075, 0.10, 0.10, 0.30, 0.42, 0.46, 0.46, 0.31, 0.28, 0.07, 0.10, 0.14),
    "shirt_dark": (0.05, 0.06, 0.09, 0.10, 0.30, 0.45, 0.50, 0.52, 0.50, 0.50, 0.42, 0.46, 0.47),
    "shirt_light": (0.55, 0.55, 0.57, 0.58, 0.62, 0.64, 0.64, 0.63, 0.60, 0.60, 0.50, 0.54, 0.55),
    "shirt_red": (0.40, 0.06, 0.07, 0.48, 0.58, 0.60, 0.60, 0.59, 0.56, 0.56, 0.46, 0.50, 0.51),
    "wall": (0.50, 0.50, 0.48, 0.52, 0.54, 0.55, 0.55, 0.55, 0.52, 0.52, 0.46, 0.48, 0.48),
    "wall_green": (0.16, 0.24, 0.20, 0.20, 0.36, 0.40, 0.42, 0.42, 0.40, 0.40, 0.34, 0.36, 0.36),
}

# Share of the light that blood takes away at one unit of redness: strong in green and blue, none in infrared.
_BLOOD = (0.06, 0.34, 0.26, 0.06, 0.03, 0.02, 0.02, 0.01, 0.0, 0.0, 0.0, 0.0, 0.0)


def band_numbers(bands: tuple[str, ...]) -> list[int]:
    """Positions of the named bands in `BANDS`."""
    return [BANDS.index(b) for b in bands]


def reflectance(material: str, bands: tuple[str, ...]) -> Array:
    """Diffuse reflectance (B,) of a material in the named bands."""
    return np.array([_TABLE[material][i] for i in band_numbers(bands)], np.float32)


def skin(melanin: Array, blood: Array, bands: tuple[str, ...]) -> Array:
    """Skin reflectance (B, H, W) from melanin (0 light … 1 dark) and blood redness (0 pale … 1 flushed), each (H, W).

    Log-linear between the light and the dark end in melanin (Beer–Lambert), times the blood's absorption.
    """
    light, dark = reflectance("skin_light", bands), reflectance("skin_dark", bands)
    out = np.empty((len(bands), *melanin.shape), np.float32)
    for i, n in enumerate(band_numbers(bands)):
        absorbed = np.exp(melanin * np.log(dark[i] / light[i]), dtype=np.float32) * light[i]
        out[i] = absorbed * (1.0 - _BLOOD[n] * blood) if _BLOOD[n] else absorbed
    return out


def printed(photo: Array, bands: tuple[str, ...], carbon: float, base: str = "paper") -> Array:
    """Reflectance (B, H, W) of a print of `photo` ((3, H, W), linear 0 to 1) on paper or cloth.

    Gamut compression: chroma × 0.8 and blacks lifted to about 5 %. `carbon` in 0 to 1 is the share of the
    darkness laid down as carbon black, which alone survives in the infrared; dye ink fades to the paper.
    """
    grey = photo.mean(axis=0, keepdims=True)
    inked = 0.05 + 0.90 * np.clip(grey + 0.8 * (photo - grey), 0.0, 1.0)
    # The ink layer is applied on a gamma scale, as a printer driver does, so shadows carry most of the ink.
    density = 1.0 - np.sqrt(np.clip(inked.mean(axis=0), 0.0, 1.0))
    sheet, black = reflectance(base, bands), reflectance("carbon", bands)
    out = np.empty((len(bands), *grey.shape[1:]), np.float32)
    for i, band in enumerate(bands):
        if band in "RGB":
            out[i] = sheet[i] * inked["RGB".index(band)]
        else:
            dye = sheet[i] * (1.0 - 0.07 * density)
            out[i] = dye + np.clip(carbon * density * 1.15, 0.0, 1.0) * (black[i] - dye)
    return out
