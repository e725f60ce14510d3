"""An archive on a cluster of dask.

As it stands it starts two workers on this machine. On a cluster with SLURM or PBS, take the other `make_cluster`.

    python archive_on_dask.py manifest.ecsv presets.yaml out
"""

import sys

import joblib
from distributed import Client, LocalCluster

import sunalign


def make_cluster():
    """Two workers on this machine."""
    return LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0")


# def make_cluster():
#     """Up to a hundred workers of one core, as SLURM has room. With PBS it is PBSCluster, with the same words."""
#     from dask_jobqueue import SLURMCluster
#
#     cluster = SLURMCluster(cores=1, processes=1, memory="4GB", walltime="04:00:00", queue="normal")
#     cluster.adapt(minimum=1, maximum=100)
#     return cluster


def main(manifest, presets, out):
    with make_cluster() as cluster, Client(cluster) as client:
        client.wait_for_workers(1)
        with joblib.parallel_config("dask"):
            results = sunalign.align_archive(manifest, out, presets=presets, progress=True)
    for state in sorted(set(results["state"])):
        print(state, (results["state"] == state).sum())


if __name__ == "__main__":
    main(*sys.argv[1:])
