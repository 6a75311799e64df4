"""Single bugs of what a full-scale run needs: several processes, places for runs, locks, padded shapes, benchmarks.

What runs in processes of its own reads the files on the disk, so that no bug of those steps can stand here.
"""

# ruff: noqa: E501 — a piece of code that replaces another stays in one piece

from __future__ import annotations

from spec_tests.bugs.campaign import mutants

IN_PARTS = "test_processes.py::"
GATHERED = f"{IN_PARTS}test_gathered_rows_are_everybodys_and_their_averaged_gradient_is_the_whole_batchs"
SLURM = " ".join(
    f"test_slurm.py::test_{name}"
    for name in (
        "what_is_finished_never_runs_again_and_a_failure_costs_only_itself",
        "a_job_that_runs_is_waited_for_and_not_submitted_again",
        "the_settings_reach_sbatch",
        "a_wrong_file_is_said_in_a_sentence",
    )
)

BUGS = [
    *mutants(
        "reference.processes",
        GATHERED,
        "gathered",
        ("order_of_arrival", "parts[rank()] = own", "parts.pop(rank())\n    parts.append(own)"),
        ("gradient_of_a_part", "gradient * processes", "gradient"),
        ("no_gradient", "parts[rank()] = own", "pass"),
    ),
    *mutants(
        "reference.processes",
        f"{IN_PARTS}test_shares_are_the_whole_in_order_or_everybodys",
        "share",
        ("rest_left_out", "whole * (number + 1) // processes", "(whole // processes) * (number + 1)"),
        ("few_are_shared", "if whole < processes", "if False"),
    ),
    *mutants(
        "reference.processes",
        f"{IN_PARTS}test_turns_are_every_piece_once_and_come_back_in_order",
        "",
        ("all_do_all", "range(rank(), pieces, count())", "range(pieces)"),
        (
            "in_order_of_processes",
            "of_all[number % count()][number // count()]",
            "[x for own in of_all for x in own][number]",
        ),
    ),
    *mutants(
        "reference.processes",
        f"{IN_PARTS}test_a_network_with_batch_norm_is_refused_on_a_cpu",
        "synchronised",
        ("never_refused", "if not torch.cuda.is_available()", "if False"),
        ("parts_normalised_apart", "nn.SyncBatchNorm.convert_sync_batchnorm(network)", "network"),
    ),
    *mutants(
        "reference.rivals.method",
        "test_equivalence.py::test_a_step_with_channels_last_is_the_step",
        "step",
        (
            "output_reshaped_in_memory",
            "losses = method.losses(output, batch)",
            "losses = method.losses(output, batch[:len(batch) // 2])",
        ),
    ),
    *mutants(
        "data_manifests.locks",
        "test_locks.py",
        "",
        (
            "holder_unnamed",
            "handle.write(f\"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\")",
            "pass",
        ),
        ("waits_for_itself", "if folder.resolve() in _held", "if False"),
        ("said_every_second", "_SAID_EVERY_S = 1.0, 60.0", "_SAID_EVERY_S = 1.0, 0.0"),
        ("never_waits", "time.sleep(_AGAIN_S)", "break"),
    ),
    *mutants(
        "paper_tables.planning.places",
        "test_places.py",
        "",
        ("gpu_shared", "if gpu.name not in taken", "if True"),
        ("others_ignored", "gpu.free >= FREE * gpu.total", "True"),
        ("jobs_ignored", "min(self.jobs or count, count)", "count"),
        ("more_than_gpus", "min(self.jobs or count, count)", "self.jobs or count"),
        ("hidden_ones_taken", "if asked is not None", "if False"),
        ("memory_ignored", "available - growing < self._largest", "False"),
        ("growth_ignored", "available - growing", "available"),
        ("first_waits", "if running and available", "if available"),
        (
            "peak_forgotten",
            "max([self._largest, *(most for _, most in held)])",
            "max([self._largest, *(now for now, _ in held)])",
        ),
    ),
    *mutants(
        "paper_tables.planning.slurm",
        SLURM,
        "",
        ("finished_again", "waiting = [job for job in jobs if not job.done]", "waiting = [*jobs]"),
        ("submitted_again", "submitted = self.find(job)", "submitted = None"),
        ("ended_one_waited_for", "return None if self.ended(found) else found", "return found"),
        ("sbatch_ignored", '"slurm_additional_parameters": cluster.sbatch', '"slurm_additional_parameters": {}'),
        ("truth_is_a_number", "type(value) is not kind", "not isinstance(value, kind)"),
    ),
    *mutants(
        "reference.mmfas",
        "test_mmfas_shapes.py",
        "MultiHead._padded",
        ("scaled_by_padded_heads", "scale=(dim / heads) ** -0.5", "scale=None"),
        ("zeros_stay", "[..., :dim]", ""),
    ),
    *mutants(
        "reference.mmfas",
        "test_mmfas_shapes.py",
        "Linear.forward",
        ("zeros_stay", "[..., : self.out_features]", ""),
        ("never_padded", "x.device.type not in PADDED", "True"),
    ),
    *mutants(
        "reference.mmfas",
        "test_mmfas_shapes.py",
        "MultiHead.forward",
        ("never_fused", "q_src.is_cuda or k_src.shape[1] >= FUSED_FROM", "q_src.is_cuda"),
        ("always_fused", "q_src.is_cuda or k_src.shape[1] >= FUSED_FROM", "True"),
    ),
    *mutants(
        "paper_tables.bench.items",
        "test_bench.py",
        "median_interval",
        ("one_too_wide", "place - 1], ordered[n - place]", "place - 2], ordered[n - place + 1]"),
        ("one_too_narrow", "place - 1], ordered[n - place]", "place], ordered[n - place - 1]"),
    ),
    *mutants(
        "paper_tables.bench.products",
        "test_bench.py",
        "",
        ("attention_once", "2 * tokens**2 * DIM", "tokens**2 * DIM"),
        ("forward_alone", "return 3 * samples * mmfas_forward(side)", "return samples * mmfas_forward(side)"),
        ("views_move", "if not view", "if True"),
    ),
    *mutants(
        "paper_tables.planning.parity",
        "test_parity.py",
        "",
        ("one_sided", "abs(report[", "(report["),
        ("same_precision", '"--precision", precision]', '"--precision", "float32"]'),
    ),
]
