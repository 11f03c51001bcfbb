"""Calibration sets of simulated films with known truth, from 3-D light transport; the judge of the fit.

Nothing here uses the film model or its operator: photons are followed through every sheet (``transport``), the light
they carry is summed over the sphere pixel by pixel (``sphere``), and the camera photographs the result (``render``).
"""
