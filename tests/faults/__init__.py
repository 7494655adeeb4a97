"""What injects faults for real: kills, hostile files, full disks, long runs.

zygote      starts real commands within milliseconds, to be killed or fed
machine     a small disk, one that is read-only, a clock that jumps
killed      the commands that are killed, and what they make
kills       kills them at random
mutations   valid files made hostile
hostile     the files of each kind, and who reads them
fuzz        feeds them
soak        long runs
inventory   which tests inject which fault
"""
