#!/bin/sh
# A sweep over many machines by Slurm: every task of the array makes its part in one folder that all of them see; then one job ranks what is there.
#   examples/slurm_sweep.sh /shared/models/sd15.safetensors /shared/sweeps/colour
# A part that fails or is killed is given to sbatch again as it was: what is there is not made twice.
set -eu
model=$1 output=$2 parts=${PARTS:-16}
mkdir -p "$output"

array=$(sbatch --parsable --array="1-$parts" --cpus-per-task=8 --time=02:00:00 --output="$output/part-%a.log" <<END
#!/bin/sh
exec unetdump sweep -m "$model" -o "$output" -p "a red car in front of a house" --replace red=green --replace car=bicycle --seeds 1-64 \
    --threads 8 --shard "\$SLURM_ARRAY_TASK_ID/$parts"
END
)
sbatch --dependency="afterok:$array" --cpus-per-task=1 --output="$output/ranking.txt" --wrap "unetdump sweep --collect -o '$output'"
