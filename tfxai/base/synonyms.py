"""Names that other tools and papers use, for suggestions."""

#: Name here -> names elsewhere, in lower case without spaces and punctuation.
NAMES_ELSEWHERE = {
    # methods
    "gradient": "saliency saliencymap saliencymaps vanillagradient gradients vanilla "
    "simplegradient sensitivitymap",
    "input_t_gradient": "inputxgradient gradientxinput inputtimesgradient "
    "gradientinput gradienttimesinput inputgradient gradxinput inputxgrad gradinput",
    "integrated_gradients": "ig intgrad intgrads integratedgradient",
    "guided_integrated_gradients": "guidedig gig",
    "blur_integrated_gradients": "blurig big",
    "expected_gradients": "gradientshap gradshap eg gradientexplainer",
    "smoothgrad": "sg noisetunnel",
    "kernel_shap": "shap kernelexplainer shapley shapleyvalues",
    "shapley_sampling": "svs shapleyvaluesampling montecarloshapley",
    "partition_shap": "partitionexplainer owen owenvalues partition hierarchicalshap",
    "d_rise": "drise detection objectdetection",
    "sobol": "sobolattributionmethod sobolindices",
    "hsic": "hsicattributionmethod",
    "shapley_interactions": "shapinteractionvalues interactions shapiq "
    "shapleyinteractionindex interactionvalues",
    "gradcam_plus_plus": "gradcampp gradcam++ gradcamplus",
    "guided_backprop": "gbp guidedbackpropagation guidedgradient",
    "deconvnet": "deconvolution deconv",
    "deep_taylor": "dtd deeptaylordecomposition",
    "clrp": "contrastivelrp",
    "sglrp": "softmaxgradientlrp",
    "deeplift": "rescale",
    "deepshap": "deepexplainer deepliftshap",
    "attention_rollout": "rollout attentionmap",
    "attention_relevance": "chefer transformerattribution genericattention gae",
    "certified": "certify certificate randomizedsmoothing certifiedattributions",
    "lrp.attn": "attnlrp lxt",
    "lrp.excitation_backprop": "excitationbackprop",
    "occlusion": "slidingwindow ablation featureablation",
    "lime": "limeimage limeimageexplainer",
    # options
    "n_samples": "n augmentbyn ntsamples nsamples numsamples nperturbsamples",
    "n_steps": "steps numsteps nsteps msteps",
    "n_iterations": "iterations steps maxiter niter epochs",
    "n_features": "numfeatures maxfeatures",
    "baseline": "baselines reference referenceinputs fill fillvalue hidecolor "
    "perturbbaseline",
    "background": "data backgrounddata referenceset distribution baselines",
    "noise": "noisescale noiselevel stdev stdevs stdevspread sigma",
    "epsilon": "eps",
    "layer": "layername targetlayer",
    "window": "windowsize patchsize patch slidingwindowshapes",
    "stride": "strides step",
    "segmenter": "segmentationfn featuremask segmentation",
    "base_method": "of base explainer",
    "seed": "randomstate randomseed",
    "low": "lower minimum",
    "high": "upper maximum",
    "kernel_width": "width",
    "target": "classidx neuronselection neuronselectionmode targetclass",
    # rules
    "z": "lrp0 zrule zero",
    "z_box": "zb bounded boundedrule",
    "w_square": "w2 wsquared",
    # metrics
    "relevance_mass": "rma relevancemassaccuracy inoutratio",
    "relevance_rank": "rra relevancerankaccuracy toprelevance",
    "sparseness": "gini giniindex",
    "complexity": "entropy",
    "max_sensitivity": "sensitivity avgsensitivity lipschitz robustness",
    "deletion": "deletionauc delauc",
    "insertion": "insertionauc insauc",
    "region_perturbation": "aopc morf",
    "road": "removeanddebias",
}  # fmt: skip


def candidates(plain: str) -> list[str]:
    """Return the names here of a name elsewhere, without spaces and punctuation."""
    return [name for name, others in NAMES_ELSEWHERE.items() if plain in others.split()]
