"""The parts of expensive products that the default run keeps.

`DEFAULT` maps a test to the patterns of the parameter ids that run by default; every
other case of that test is marked `slow` and runs in `.ci/run`. The kept cases cover
each code path once. A test without parameters that appears here with `NOTHING` is slow.
"""

from fnmatch import fnmatchcase

import pytest

#: One relevance method of each code path.
RELEVANCE = (
    *("lrp.epsilon", "lrp.flat", "lrp.alpha_2_beta_1", "lrp.epsilon_gamma_box"),
    *("sglrp", "guided_backprop"),
)
NOTHING: tuple[str, ...] = ()
#: One network of each sort of layer; the names of `tests.relevance.layer_zoo.NETS`.
NETWORKS = (
    *("where", "clip", "tile_and_pad", "slices_and_transposes", "bilinear", "lambda"),
    *("merges", "glu", "squeeze_excite", "matmul", "constants", "symmetric"),
    *("einsum_dense", "spectral", "batch_norm_axis_1", "group_norm", "rms_norm"),
    *("adapted", "positions", "attention_mask", "attention_of_groups"),
    *("cross_attention", "own_cell", "time_distributed", "masking"),
    *("model_twice", "two_inputs", "subclassed_inside", "softmax_at_the_end"),
)

#: file below tests/ -> test -> patterns of the ids that run by default.
DEFAULT: dict[str, dict[str, tuple[str, ...]]] = {
    "graph/test_any_model.py": {
        "test_the_layers_of_each_time_step_at_any_length": ("5",),
    },
    "core/test_token_ids.py": {
        "test_an_id_outside_the_vocabulary_is_named": ("int32-*",),
    },
    "perturbation/test_visualization.py": {
        "test_a_seed_repeats_and_a_batch_is_one_by_one": NOTHING,
    },
    "core/test_sequence_targets.py": {
        "test_the_log_probability_of_a_continuation": ("None",),
    },
    "core/test_one_sigmoid.py": {
        "test_target_0_is_the_negative_of_target_1": (
            "gradient",
            "lime",
        ),
    },
    "sampling/test_precision.py": {
        "test_masked_maps_of_a_trained_network_agree": (
            "lime*",
            "occlusion*",
        ),
    },
    "sampling/test_backgrounds.py": {
        "test_integrated_gradients_are_the_mean_over_rows": NOTHING,
    },
    "gradient/test_expected.py": {
        "test_intervals_of_two_inputs_and_of_tokens": NOTHING,
    },
    "core/test_target_functions.py": {
        "test_ready_made_targets_of_a_softmax": ("gradient",),
        "test_outputs_that_are_moved_behind_the_softmax": ("softmax",),
    },
    "test_xla.py": {
        "test_what_xla_cannot_compile_is_named": ("extremal*",),
        "test_a_method_of_each_family": (
            "relevance",
            "path",
            "noise",
            "cam",
        ),
    },
    "relevance/test_deeplift.py": {
        "test_the_map_accounts_for_the_whole_change": ("_gates",),
    },
    "relevance/test_layers_steps.py": {
        "test_rules_on_kernels_of_every_origin": (
            "einsum*",
            "conv_variable",
            "batch_norm_axis_1",
        ),
    },
    "core/test_recommendation.py": {
        "test_each_line_works_as_it_is_typed": (
            "two classes",
            "attention",
            "image",
            "texts of a Keras model",
        ),
    },
    "core/test_endings.py": {
        "test_the_logits_behind_a_layer_that_cannot_be_read": (
            "softmax, moved",
            "sigmoid",
        ),
    },
    "core/test_recompute.py": {
        "test_an_image_network_with_branches": NOTHING,
        "test_a_bar_moves_with_every_segment": NOTHING,
    },
    "graph/test_sample_loops.py": {
        "test_a_loop_has_the_map_of_what_it_computes": (
            "gather",
            "keras.ops.map",
        ),
        "test_what_cannot_be_read_is_named": ("whole batch",),
    },
    "graph/test_samples.py": {
        "test_targets_together_are_targets_one_by_one": (
            "twice",
            "blocks",
            "attention",
        ),
    },
    "gradient/test_at.py": {
        "test_one_gradient_at_a_layer": ("input_t_gradient",),
        "test_conductance_at_the_input_is_integrated_gradients": NOTHING,
    },
    "gradient/test_cam.py": {
        "test_the_formulas": ("*-two", "gradcam-one"),
    },
    "gradient/test_cam_layers.py": {
        "test_tokens_are_laid_back_on_their_grid": ("1-4-*",),
        "test_sizes_that_the_model_leaves_open": NOTHING,
    },
    "gradient/test_cam_variants.py": {
        "test_finercam_is_a_difference_of_maps": ("2-*",),
        "test_fullgrad_lays_biases_over_the_input": ("True",),
        "test_shapleycam_uses_the_hessian": ("rest",),
    },
    "gradient/test_patterns.py": {
        "test_the_formulas": ("pattern.net-relu", "pattern.attribution-linear"),
    },
    "gradient/test_regions.py": {
        "test_idgi_shares_each_step_along_its_gradient": ("7-4",),
        "test_xrai_computes_tensors_again": NOTHING,
    },
    "gradient/test_paths.py": {
        "test_the_path_of_tokens_runs_between_their_vectors": NOTHING,
    },
    "metrics/test_compare.py": {
        "test_a_network_that_forgets_is_shown": NOTHING,
        "test_the_command_and_explain_give_a_method_the_same_bounds": NOTHING,
    },
    "relevance/test_transformers.py": {
        "test_the_planted_word_is_the_most_relevant": NOTHING,
        "test_without_the_most_relevant_word_the_score_is_gone": NOTHING,
    },
    "training/test_callbacks_sinks.py": {
        "test_a_moving_picture_of_another_model_begins_anew": NOTHING,
        "test_trained_further_the_steps_go_on": NOTHING,
        "test_every_two_epochs": NOTHING,
    },
    "cli/test_cli.py": {
        "test_the_first_three_classes_are_three_runs": NOTHING,
        "test_a_picture_that_the_method_refuses_does_not_stop_the_others": NOTHING,
        "test_the_first_classes_before_and_after": NOTHING,
    },
    "cli/test_demo.py": {
        "test_the_second_call_loads_what_the_first_one_trained": NOTHING,
        "test_a_folder_that_cannot_be_written_is_named": NOTHING,
        "test_the_bar_is_drawn_on_stderr_and_only_if_wanted": NOTHING,
        "test_training_leaves_the_global_random_state": NOTHING,
        "test_retrain_writes_the_file_again": NOTHING,
        "test_a_torn_file_is_named_and_replaced": NOTHING,
    },
    "gradient/test_doors.py": {
        "test_tokens_are_tokens_whatever_their_dtype": ("int64-True",),
        "test_pictures_of_whole_numbers_are_no_tokens": ("uint8",),
        "test_one_analyzer_for_pictures_of_two_sizes": NOTHING,
    },
    "gradient/test_smooth.py": {
        "test_the_moments_are_those_of_the_draws": ("vargrad*gradient*",),
    },
    "graph/test_trace.py": {
        "test_every_spelling_has_one_map": (
            *("rms-*attn", "layer norm-*attn", "softmax-*attn", "gelu-*attn"),
            "relu-*alpha*",
        ),
        "test_the_map_of_a_probability_turns_with_the_target": NOTHING,
        "test_attnlrp_as_published": ("llama-embeddings",),
        "test_every_sort_of_keras_hub_is_read": NOTHING,
        "test_a_backbone_in_int8_has_nearly_the_map_of_its_floats": NOTHING,
    },
    "metrics/test_randomisation.py": {
        "test_the_maps_are_those_of_randomised_networks": ("nested-*",),
        "test_some_stages_are_those_of_all": NOTHING,
    },
    "metrics/test_table.py": {
        "test_the_similarity_of_the_maps_is_listed_by_stage": NOTHING,
        "test_what_the_file_has_is_not_measured_again": NOTHING,
    },
    "metrics/test_quantus.py": {
        "test_quantus_says_the_same": ("RegionPerturbation", "[!P]*"),
    },
    "perturbation/test_cnn.py": {
        "test_inputs_are_checked_each_time": NOTHING,
        "test_a_stuck_start_is_begun_again_and_the_best_kept": NOTHING,
        "test_a_sure_answer_is_left_by_a_start_farther_away": NOTHING,
        "test_a_start_whose_channel_dies_is_begun_again": NOTHING,
        "test_the_class_that_is_explained_is_that_of_the_picture": NOTHING,
        "test_a_class_that_is_not_well_defined_is_said_aloud": NOTHING,
        "test_the_probability_is_doubted_and_not_the_score": NOTHING,
        "test_the_losses_of_adam_and_where_it_ends": NOTHING,
        "test_what_an_explanation_holds": NOTHING,
        "test_the_generator_its_loss_and_its_slopes": ("pert_colour",),
    },
    "perturbation/test_mask.py": {
        "test_jitter_is_drawn_from_the_seed": NOTHING,
        "test_a_planted_place_is_found": ("meaningful*",),
        "test_the_smooth_maximum_by_hand": ("2-1.5",),
    },
    "relevance/test_layers_networks.py": {
        "test_the_logits_are_the_models_own_and_live": NETWORKS,
        "test_without_biases_only_softmax_steps_absorb": NETWORKS,
        "test_many_targets_are_one_by_one_and_a_batch_is_its_samples": (
            *("lambda", "lstm_masked", "attention_mask", "merges", "where", "einsum"),
        ),
        "test_every_preset_is_finite_on_every_sort_of_network": (
            *("lrp.z_plus", "lrp.alpha_2_beta_1", "sglrp"),
        ),
        "test_padding_gets_no_relevance": ("lstm_masked", "masking"),
        "test_lrp_0_is_input_times_gradient_without_biases": (
            *("dense", "where", "bilinear", "slices*", "symmetric", "einsum*"),
            *("spectral", "batch_norm_axis_1", "model_twice", "subclassed*"),
        ),
        "test_without_relu_modified_gradients_are_the_gradient": ("*-guided_backprop",),
        "test_a_padded_sentence_is_the_sentence": ("lstm", "attention"),
        "test_the_table_has_both_sorts": NOTHING,
    },
    "relevance/test_layers_refusals.py": {
        "test_what_no_row_covers_is_read_from_the_trace": ("[!u]*",),
    },
    "relevance/test_numbers.py": {
        "test_maps_of_a_mixed_precision_model_are_those_of_float32": tuple(
            f"mixed_bfloat16-{m}"
            for m in ("lrp.epsilon", "lrp.alpha_2_beta_1", "sglrp")
        ),
        "test_maps_are_finite": (
            *(f"dead-{m}" for m in RELEVANCE),
            *("lively-lrp.epsilon", "silent-sglrp"),
        ),
    },
    "relevance/test_properties_conservation.py": {
        "test_neither_seeds_nor_batches_change_a_map": ("lrp.epsilon_gamma_box",),
        "test_lrp_0_is_gradient_times_input": NOTHING,
        "test_relevance_of_a_positive_logit_sums_to_it": ("bounded",),
        "test_relevance_of_any_logit_sums_to_it": ("z",),
        "test_relevance_is_linear_in_the_seed": ("epsilon", "alpha_beta", "bounded"),
        "test_the_two_halves_of_a_contrast_cancel": ("bounded-*",),
    },
    "relevance/test_properties_graphs.py": {
        "test_a_large_convolution_is_turned_round_exactly": NOTHING,
        "test_large_dense_kernels_are_mapped_in_blocks": NOTHING,
    },
    "relevance/test_properties_model.py": {
        "test_the_users_model_is_left_as_it_was": (
            *("gradient", "deeplift", "lrp.alpha_2_beta_1", "sglrp"),
        ),
        "test_a_call_without_compiling_leaves_no_tensor_behind": ("1",),
        "test_an_analyzer_follows_training": ("sglrp",),
    },
    "relevance/test_properties_spellings.py": {
        "test_the_spelling_of_a_network_does_not_change_its_maps": NOTHING,
        "test_mixed_precision_gives_nearly_the_same_maps": NOTHING,
        "test_the_spelling_does_not_change_a_gradient": (
            *("gradient-with_fused*", "gradient-as_nested*", "input_t_*-as_nested*"),
        ),
    },
    "relevance/test_references_stored.py": {
        "test_innvestigate": ("cnn_softmax_layer",),
        "test_zennit_and_captum": ("plain_mlp_b",),
        "test_upstream_files": ("LRP[!A]*", "Gradient", "DeepTaylor"),
        "test_every_row_is_needed_and_the_counts_are_printed": NOTHING,
    },
    "relevance/test_rules_batch_norm.py": {
        "test_sides_that_are_left_open_change_no_map": ("norm-valid",),
        "test_batch_norm_folds_into_its_linear_neighbour": (
            "conv*-blocks",
            "depthwise*-blocks",
            "separable*-blocks",
            "norm, dense-blocks",
            "rescaling, conv*-blocks",
        ),
    },
    "relevance/test_rules_formulas.py": {
        "test_a_preset_is_its_rules_one_after_another": (
            *("cnn-*", "residual-*", "two_inputs-epsilon"),
        ),
        "test_a_rule_is_its_matrix_formula": (
            *("dense-*", "dense_without_bias-signed", "conv1d_causal_dilated-signed"),
            *("conv2d-*", "conv2d_same_strided-signed", "conv2d_groups-signed"),
            *("conv3d-signed", "depthwise2d*-signed", "separable2d-signed"),
            *("conv2d_transpose-signed", "average2d-*", "global_average2d-signed"),
            *("add*-signed", "batch_norm-*", "batch_norm_first_axis-signed"),
        ),
    },
    "relevance/test_serving.py": {
        "test_tokens_cut_by_a_mask_get_nothing": NOTHING,
        "test_a_fresh_process_reads_what_was_saved_and_exported": NOTHING,
        "test_two_mirrored_replicas_give_the_same_maps": NOTHING,
        "test_the_graph_predicts_and_explains": ("[!t]*",),
        "test_the_steps_absorb_what_is_missing": ("[!t]*",),
    },
    "test_docs.py": {
        "test_the_python_of_a_page_runs": ("docs/quickstart.md", "docs/extending.md"),
    },
    "test_extend.py": {
        "test_a_method": ("*-functional", "*-series", "*-tokens"),
    },
    "training/test_callbacks_training.py": {
        "test_the_graph_is_built_once": NOTHING,
        "test_a_name_in_logs_is_not_taken_from_another": NOTHING,
        "test_the_map_of_each_epoch_is_that_of_its_weights": ("lime",),
    },
    "test_import.py": {
        "test_another_keras_backend_by_its_settings_file_is_named": NOTHING,
        "test_importing_prints_nothing": ("-*",),
        "test_public_modules_are_attributes_and_the_demo_shows_its_functions": NOTHING,
        "test_public_modules_are_the_very_same_as_internal_ones": NOTHING,
    },
    "test_layering.py": {
        "test_the_tools_agree": ("ruff*",),
    },
    "sampling/test_leg.py": {
        "test_a_tolerance_that_was_not_met_is_a_warning": ("leg",),
        "test_a_regression_has_the_size_of_the_map": ("auto-60",),
        "test_the_unit_is_the_extent_of_a_sample_or_that_of_bytes": ("leg",),
        "test_slopes_at_the_stored_noise": ("leg_digits_base28",),
        "test_what_is_explained": ("log_odds",),
    },
    "sampling/test_shapley.py": {
        "test_kernel_shap_of_larger_games_comes_near_and_adds_up": NOTHING,
        "test_shapley_sampling_comes_near_and_says_how_near": NOTHING,
        "test_too_few_subsets_are_named": NOTHING,
    },
}


#: Files whose tests share nothing: each of their tests may run on any worker.
INDEPENDENT = (
    *("cli/test_page.py", "relevance/test_applications.py"),
    *("test_docker.py", "test_docs.py", "test_notebooks.py", "test_site.py"),
)


#: Files of many tests of the same models: the tests of one model run in a row, so that
#: a small cache of models is enough.
BY_MODEL = ("relevance/test_layers_networks.py",)


def order(items: list[pytest.Item]) -> None:
    """Sort the tests of the files of `BY_MODEL` by their first parameter."""
    for file in BY_MODEL:
        at = [i for i, t in enumerate(items) if t.nodeid.startswith(f"tests/{file}::")]
        by_model = sorted((items[i] for i in at), key=model_of)
        for i, item in zip(at, by_model, strict=True):
            items[i] = item


def model_of(item: pytest.Item) -> str:
    """Return the first parameter of a test; tests without one come last."""
    case = item.nodeid.partition("[")[2]
    return case[:-1].partition("-")[0] or "~"


def group_of(item: pytest.Item) -> str:
    """Return the group of a test; the tests of a group run on one worker."""
    file = item.nodeid.split("::")[0]
    return item.nodeid if file.removeprefix("tests/") in INDEPENDENT else file


def mark_slow(items: list[pytest.Item]) -> None:
    """Mark the cases outside the default run."""
    for item in items:
        file, _, test = item.nodeid.partition("::")
        name, _, case = test.partition("[")
        kept = DEFAULT.get(file.removeprefix("tests/"), {}).get(name)
        if kept is not None and not any(fnmatchcase(case[:-1], k) for k in kept):
            item.add_marker(pytest.mark.slow)


def stale(items: list[pytest.Item]) -> list[str]:
    """Return the rows of `DEFAULT` that match no test of the collected files."""
    cases: dict[tuple[str, str], list[str]] = {}
    for item in items:
        file, _, test = item.nodeid.partition("::")
        name, _, case = test.partition("[")
        cases.setdefault((file.removeprefix("tests/"), name), []).append(case[:-1])
    rows = [(f, t, k) for f, tests in DEFAULT.items() for t, k in tests.items()]
    files = {file for file, _ in cases}
    missing = [f"{f}::{t}" for f, t, _ in rows if f in files and (f, t) not in cases]
    unmatched = [
        f"{f}::{t}[{pattern}]"
        for f, t, kept in rows
        for pattern in kept
        if (f, t) in cases and not any(fnmatchcase(c, pattern) for c in cases[f, t])
    ]
    return missing + unmatched
