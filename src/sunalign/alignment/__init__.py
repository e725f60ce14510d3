"""One alignment, top to bottom: `sunalign.align`, its inputs, its options, and plugins held to their contract.

Internal: what is public of it is `sunalign.align` and the method ``align_to``.
"""
