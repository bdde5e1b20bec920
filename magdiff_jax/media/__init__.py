"""Media files: pictures, clips, masks, and the sheets that show them to people.

Pixels are `uint8` RGB here; scaling to [-1, 1] belongs to the conditioning.
"""
