"""Figures that a clinic needs: operating points, calibration, predictive values, net benefit, abstention, rewards."""
