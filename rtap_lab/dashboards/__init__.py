"""What people see in a browser: live charts and the dashboard made of them.

A chart is one object: it works in a notebook cell, in `panel serve`, and as a static picture in an
executed report. Its browser side talks to the hub itself, so it moves while the kernel is busy. The
only package that imports panel and bokeh.
"""
