"""Measuring: the demo, and benchmark reports made by papermill from notebooks.

The only package that imports papermill. What is measured, and how, is in `rtap_lab.monitoring`.
"""
