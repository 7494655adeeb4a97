"""Which tests inject which fault. `tests/test_inventory.py` fails if one of them does not exist.

Each row: what happens, the exit code, the tests below `tests/` that make it happen for real, and
what is not for real, if anything.
"""

from typing import NamedTuple


class Fault(NamedTuple):
    what: str
    exit_code: str  # "kill" is SIGKILL, "warn" a warning while the command goes on
    tests: tuple[str, ...]
    not_real: str = ""


_LOOP, _STATE = "training/test_loop.py::test_", "training/test_state.py::test_"
_HERE, _KILLS, _FUZZ = "test_faults.py::test_", "test_kills.py::test_", "test_fuzz.py::test_"
_ANY_KILL = f"{_KILLS}what_is_killed_at_random_ends_as_if_nobody_had_killed_it"
_ANY_INPUT = f"{_FUZZ}hostile_inputs_are_read_or_refused_in_one_line"
_WRONG = "cli/test_main.py::test_a_mistake_is_one_line_and_changes_nothing"

FAULTS = {
    1: Fault(
        "SIGKILL at a random step of a training",
        "kill",
        (_ANY_KILL,),
    ),
    2: Fault(
        "SIGKILL while a checkpoint is written",
        "kill",
        (f"{_HERE}a_kill_while_a_checkpoint_is_written_costs_one_interval", _ANY_KILL),
    ),
    3: Fault(
        "SIGTERM or SIGINT, once and twice",
        "143, 130",
        (
            "test_signals.py::test_a_signal_while_modules_are_imported_is_one_line",
            "test_signals.py::test_a_second_signal_ends_the_process_at_once_and_leaves_nothing",
            f"{_LOOP}the_first_signal_is_answered_at_once_and_the_run_is_saved",
            f"{_LOOP}a_second_signal_leaves_at_once_and_nothing_half_written",
            "render/test_pipeline.py::test_a_signal_keeps_what_resume_goes_on_from",
        ),
    ),
    4: Fault(
        "SIGTERM to one of two ranks",
        "143",
        (
            f"{_LOOP}a_signal_to_one_of_two_ranks_stops_both_at_one_step",
            f"{_HERE}a_signal_to_one_rank_stops_both_at_the_same_step",
        ),
    ),
    5: Fault(
        "a rank dies or hangs",
        "5",
        (
            f"{_LOOP}two_ranks_train_one_model_and_go_on_when_one_was_lost",
            f"{_HERE}a_rank_that_dies_or_hangs_ends_the_others",
        ),
    ),
    6: Fault(
        "a full disk at a checkpoint, a film, samples",
        "5",
        (
            f"{_HERE}a_disk_that_fills_during_training_is_one_line_and_keeps_the_last_checkpoint",
            f"{_HERE}a_disk_that_fills_during_a_render_leaves_what_was_there",
            "film/test_writer.py::test_a_full_disk_is_one_line_and_leaves_nothing",
            "data/test_cache.py::test_a_full_disk_is_a_system_fault_and_nothing_is_left",
        ),
    ),
    7: Fault(
        "a target that is read-only, missing or a file; a folder that vanishes",
        "2, 5",
        (
            f"{_HERE}a_read_only_disk_is_refused_before_training_and_rendering",
            f"{_HERE}a_file_in_the_place_of_the_runs_is_refused",
            f"{_HERE}a_run_folder_that_vanishes_is_one_line",
            _WRONG,
        ),
    ),
    8: Fault(
        "the newest checkpoint cut or with a flipped bit",
        "warn",
        (
            f"{_LOOP}a_damaged_checkpoint_is_passed_over_and_changed_data_are_refused",
            f"{_STATE}no_flipped_digit_is_believed_and_without_a_good_checkpoint_nothing_is_restored",
            "generator/test_checkpoint.py::test_no_byte_of_a_file_can_change_unnoticed",
        ),
    ),
    9: Fault(
        "a checkpoint of another architecture or size",
        "4",
        (f"{_STATE}a_checkpoint_that_cannot_be_used_is_named_and_the_one_before_is_whole",),
    ),
    10: Fault(
        "a checkpoint or model of a newer vidgan",
        "4",
        (f"{_HERE}a_model_of_a_newer_vidgan_is_refused_by_its_version",),
    ),
    11: Fault(
        "a .pt that runs code when it is unpickled",
        "4",
        (
            "generator/test_import_weights.py::"
            "test_a_file_that_would_run_code_is_refused_and_never_run",
            _ANY_INPUT,
        ),
    ),
    12: Fault(
        "data that changed since the checkpoint",
        "3",
        (f"{_LOOP}a_damaged_checkpoint_is_passed_over_and_changed_data_are_refused",),
    ),
    13: Fault(
        "a loss or gradient that is NaN or infinite",
        "6",
        (
            f"{_LOOP}diverged_training_stops_before_a_weight_changes",
            f"{_HERE}a_learning_rate_that_is_too_high_ends_as_diverged",
        ),
    ),
    14: Fault(
        "a discriminator that wins, a generator that collapses",
        "warn",
        (
            "quality/test_watch.py::test_a_collapse_is_reported_once_and_with_advice",
            "quality/test_watch.py::test_a_sure_discriminator_is_reported_when_it_stays_sure",
        ),
        "made-up numbers; a real collapse takes minutes of training",
    ),
    15: Fault(
        "a few broken files among a thousand pictures",
        "0, 3",
        (
            f"{_HERE}one_of_a_thousand_pictures_is_cut_empty_or_a_web_page",
            "data/test_cache.py::test_one_bad_file_among_twenty_is_skipped_and_named",
        ),
    ),
    16: Fault(
        "nothing readable, an empty folder, only texts",
        "3",
        (
            "data/test_cache.py::test_if_nothing_can_be_read_the_first_five_reasons_are_given",
            "data/test_sources.py::test_a_source_without_pictures_is_refused_with_what_can_be_read",
            _WRONG,
        ),
    ),
    17: Fault(
        "a picture of 200 million pixels in a hundred bytes",
        "3",
        (
            "data/test_pictures.py::test_a_decompression_bomb_is_refused_by_its_header",
            "data/test_sequences.py::test_hostile_stacks_are_refused_before_memory_is_taken",
        ),
    ),
    18: Fault(
        "odd modes of pictures",
        "0",
        (
            "data/test_pictures.py::test_every_mode_becomes_rgb",
            "data/test_pictures.py::test_the_exif_orientation_is_honoured",
            "data/test_pictures.py::test_sixteen_bits_become_eight_by_rounding",
            _ANY_INPUT,
        ),
    ),
    19: Fault(
        "a hostile zip",
        "3",
        (
            "data/test_archives.py::test_nothing_is_written_by_a_zip_with_tricky_names",
            "data/test_archives.py::test_links_zips_and_hidden_files_in_a_zip_are_left_out",
            "data/test_archives.py::test_an_encrypted_zip_is_refused",
            "data/test_archives.py::test_members_that_unpack_to_too_much_are_refused",
            "data/test_archives.py::test_too_many_files_are_refused_before_or_after_the_directory",
            "data/test_archives.py::test_a_cut_zip_is_refused_and_one_with_a_bad_member_names_it",
            _ANY_INPUT,
        ),
    ),
    20: Fault(
        "a hostile or odd film",
        "warn, 3",
        (
            "film/test_reader.py::test_a_playlist_named_like_a_film_opens_no_other_file",
            "film/test_reader.py::test_only_local_files_that_exist_are_opened",
            "film/test_reader.py::test_a_film_cut_short_gives_its_part_and_a_notice",
            "film/test_reader.py::test_a_phone_held_upright_gives_upright_frames",
            "film/test_reader.py::test_sound_alone_is_refused",
            _ANY_INPUT,
        ),
    ),
    21: Fault(
        "fewer pictures than a batch, or one",
        "0",
        (
            f"{_HERE}fewer_pictures_than_a_batch_are_repeated",
            "data/test_order.py::test_data_smaller_than_a_batch_repeat",
        ),
    ),
    22: Fault(
        "no shared memory",
        "0",
        (f"{_HERE}training_needs_no_shared_memory",),
        "no process loads data that could be killed: threads of the training do",
    ),
    23: Fault(
        "out of memory",
        "5",
        (
            f"{_LOOP}too_little_memory_is_one_line_that_says_what_to_lower",
            f"{_LOOP}memory_that_runs_out_later_names_the_last_checkpoint",
        ),
        "the memory of the CPU; that of a GPU runs out on a GPU only",
    ),
    24: Fault(
        "a bad config",
        "2",
        (
            f"{_HERE}a_recipe_may_have_a_mark_of_its_encoding_but_must_be_utf_8",
            _WRONG,
            _ANY_INPUT,
        ),
    ),
    25: Fault("a bad request for a render", "2, 5", (_WRONG,)),
    26: Fault(
        "SIGKILL near the end of a render",
        "kill",
        (
            "film/test_segments.py::test_a_killed_render_resumes_to_the_frames_of_one_never_killed",
            _ANY_KILL,
        ),
    ),
    27: Fault(
        "odd terminals and names",
        "0",
        (
            f"{_HERE}odd_names_are_names",
            "cli/test_main.py::test_a_stdout_that_is_full_closed_or_read_by_nobody",
            "cli/test_terminal.py::test_letters_that_a_terminal_lacks_are_no_error",
        ),
    ),
    28: Fault(
        "trouble with an export",
        "4, 5",
        (
            "generator/test_export.py::test_a_file_that_fails_its_proof_does_not_appear",
            "generator/test_onnx_file.py::test_weights_in_other_files_are_refused",
            "generator/test_onnx_file.py::test_over_two_gigabytes_is_refused_before_it_is_read",
            f"{_HERE}without_onnx_runtime_a_render_says_what_to_install",
        ),
    ),
    29: Fault(
        "two runs in one second, one run resumed twice",
        "0, 5",
        (
            f"{_HERE}two_runs_that_start_at_once_get_two_folders",
            f"{_LOOP}a_run_trains_in_one_process_at_a_time_and_outlives_a_killed_one",
        ),
    ),
    30: Fault(
        "a clock that jumps",
        "0",
        (f"{_HERE}a_clock_that_jumps_by_a_day_changes_neither_times_nor_weights",),
    ),
    31: Fault(
        "a signature that cannot be made",
        "5",
        ("marks/test_c2pa.py::test_what_cannot_sign_is_refused_in_one_line",),
    ),
    32: Fault(
        "abuse of the server",
        "stays up",
        (
            "generator/test_web_page.py::test_the_server_gives_out_its_folder_and_nothing_else",
            _ANY_INPUT,
        ),
    ),
}
