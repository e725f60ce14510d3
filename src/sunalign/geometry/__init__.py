"""Pixels, directions, observers and times: where a pixel of one image is seen in another.

Internal. Directions are unit vectors towards (longitude, latitude); angles are in radians, pixels 0-based, ``x`` first.
"""
