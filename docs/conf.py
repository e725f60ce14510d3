"""How the documentation is built: ``sphinx-build -W -b html docs docs/_build/html``.

The build uses no network and no real data. Set ``SUNALIGN_DOCS_INTERSPHINX=1`` to link to the documentation of the
packages sunalign stands on, which has to be fetched; without it their names are set as code.
"""

import datetime
import os
from importlib.metadata import version as installed_version

# Read when a library is first loaded: a build is no place for a thread a core.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", MPLBACKEND="Agg")

from astropy.utils import iers

# The tables that come with astropy are recent enough for every date here.
iers.conf.auto_download = False

# -- Project -----------------------------------------------------------------

project = "sunalign"
author = "The sunalign developers"
copyright = f"{datetime.datetime.now(tz=datetime.UTC).year}, {author}"  # noqa: A001
release = installed_version("sunalign")
version = ".".join(release.split(".")[:2])

# -- Sphinx ------------------------------------------------------------------

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_automodapi.automodapi",
    "sphinx_automodapi.smart_resolver",
    "sphinx_changelog",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_templates", "examples", "**.inc", "**/README.rst", "Thumbs.db", ".DS_Store"]
default_role = "obj"
nitpicky = True
add_module_names = False
autodoc_typehints = "none"  # The docstrings say it in words, with units and shapes.
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = True
napoleon_google_docstring = False
napoleon_use_param = False
napoleon_use_rtype = False
napoleon_use_ivar = True
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

automodapi_toctreedirnm = "generated/api"
automodapi_inheritance_diagram = False
automodapi_writereprocessed = False
automodsumm_inherited_members = False
automodsumm_properties_are_attributes = False

# -- References to other packages ---------------------------------------------

nitpick_ignore_regex = [
    # What an estimator is handed and hands back is described where it is made, which is in modules of their own.
    (r"py:.*", r"sunalign\.sequences\._.*"),
    # Names of the standard library and of the packages that sunalign stands on. They are links only where their
    # inventories could be fetched (see the top of this file).
    (
        r"py:.*",
        r"(abc|argparse|astropy|bool|bytes|callable|collections|dict|float|frozenset|gwcs|hypothesis|int|joblib|list|"
        r"matplotlib|ndcube|None|numpy|np|object|pathlib|pytest|reproject|scipy|set|str|sunkit_image|sunpy|sunraster|"
        r"tqdm|tuple|type|typing|u)(\..*)?",
    ),
    (
        r"py:.*",
        r"sunalign\.(alignment|geometry|model\.\w+|wcs)(\..*)?",
    ),
    (
        r"py:.*",
        r"(True|False|AssertionError|Exception|ExceptionGroup|FileExistsError|FileNotFoundError|ImportError|"
        r"IsADirectoryError|OSError|RuntimeError|TypeError|ValueError|Warning|enumerate|slice|importlib\.metadata)",
    ),
]

if os.environ.get("SUNALIGN_DOCS_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3/", None),
        "numpy": ("https://numpy.org/doc/stable/", None),
        "scipy": ("https://docs.scipy.org/doc/scipy/", None),
        "matplotlib": ("https://matplotlib.org/stable/", None),
        "astropy": ("https://docs.astropy.org/en/stable/", None),
        "sunpy": ("https://docs.sunpy.org/en/stable/", None),
        "ndcube": ("https://docs.sunpy.org/projects/ndcube/en/stable/", None),
        "reproject": ("https://reproject.readthedocs.io/en/stable/", None),
    }

# -- Gallery -------------------------------------------------------------------

sphinx_gallery_conf = {
    "examples_dirs": "examples/gallery",
    "gallery_dirs": "generated/gallery",
    "filename_pattern": r"/plot_",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": False,
    "only_warn_on_example_error": False,
    "reset_modules": ("matplotlib",),
    "matplotlib_animations": True,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "capture_repr": ("_repr_html_", "__repr__"),
    "plot_gallery": "True",
    "doc_module": ("sunalign",),
    "backreferences_dir": None,
    "download_all_examples": False,
    "min_reported_time": 60,
}

# -- HTML ----------------------------------------------------------------------

html_theme = "sunpy"
html_title = "sunalign"
html_show_sourcelink = False
templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["sunalign.css"]
html_theme_options = {
    "sst_project_name": "sunalign",
    "navbar_links": [
        ["Tutorial", "tutorial/index", 0],
        ["How-to guides", "how_to/index", 0],
        ["Topic guide", "topic_guide/index", 0],
        ["Gallery", "generated/gallery/index", 0],
        ["Reference", "reference/index", 0],
        ["Writing a plugin", "dev_guide/writing_a_plugin/index", 0],
    ],
    "footer_links": [],
    "rtd_search": False,
    "goatcounter_analytics_url": False,
}
