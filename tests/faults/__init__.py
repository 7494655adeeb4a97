"""What injects faults for real: kills, hostile files, full disks, long runs.

zygote   starts real commands within milliseconds, to be killed or fed
"""
