import numpy as np

from benchmarks import phone


def test_agreement_counts_images_with_the_same_likeliest_class():
    expected = np.array([[0.6, 0.4], [0.3, 0.7], [0.9, 0.1], [0.2, 0.8]])
    found = np.array([[0.6, 0.4], [0.6, 0.4], [0.9, 0.1], [0.2, 0.8]])
    row = phone.agreement(found, expected)
    assert row["same_top1"] == 0.75
    assert np.isclose(row["largest_probability_difference"], 0.3)
    assert np.isclose(row["mean_probability_difference"], 0.075)
    assert "| photograph" in phone.report({"images": 4, "network": "n", phone.PHOTOGRAPH: row})
