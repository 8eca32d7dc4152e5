"""Arguments that torch takes, by name: (receiver, arguments) of test_tensor_names; regenerate by
its ``works``.
"""

CALLS = {
    (0, 0): (
        "H T abs abs_ absolute absolute_ acos acos_ acosh acosh_ adjoint all amax amin "
        "aminmax angle any arccos arccos_ arccosh arccosh_ arcsin arcsin_ arcsinh "
        "arcsinh_ arctan arctan_ arctanh arctanh_ argmax argmin argsort argwhere asin "
        "asin_ asinh asinh_ atan atan_ atanh atanh_ bernoulli_ bfloat16 bool byte cauchy_ "
        "cdouble ceil ceil_ cfloat chalf char cholesky_inverse clone conj conj_physical "
        "conj_physical_ contiguous corrcoef cos cos_ cosh cosh_ count_nonzero cov cpu "
        "data deg2rad deg2rad_ dense_dim dequantize det detach detach_ diag diag_embed "
        "diagflat diagonal diff digamma digamma_ dim dim_order double dtype element_size "
        "erf erf_ erfc erfc_ erfinv erfinv_ exp exp2 exp2_ exp_ expm1 expm1_ exponential_ "
        "fix fix_ flatten fliplr flipud float floor floor_ frac frac_ frexp geqrf "
        "get_device grad grad_dtype half hardshrink hash_tensor histc histogram i0 i0_ "
        "int inverse is_complex is_conj is_contiguous is_cpu is_cuda is_distributed "
        "is_floating_point is_inference is_ipu is_leaf is_maia is_meta is_mkldnn is_mps "
        "is_mtia is_neg is_nested is_quantized is_signed is_sparse is_sparse_csr "
        "is_vulkan is_xla is_xpu isfinite isinf isnan isneginf isposinf isreal itemsize "
        "lgamma lgamma_ log log10 log10_ log1p log1p_ log2 log2_ log_ log_normal_ logdet "
        "logical_not logical_not_ logit logit_ long lu mH mT matrix_exp max mean median "
        "min mode msort name nan_to_num nan_to_num_ nanmean nanmedian nansum nbytes ndim "
        "ndimension neg neg_ negative negative_ nelement nonzero norm normal_ numel numpy "
        "output_nr pinverse positive prod qr rad2deg rad2deg_ random_ ravel real "
        "reciprocal reciprocal_ relu relu_ requires_grad requires_grad_ resolve_conj "
        "resolve_neg retains_grad rot90 round round_ rsqrt rsqrt_ sgn sgn_ shape short "
        "sigmoid sigmoid_ sign sign_ signbit sin sin_ sinc sinc_ sinh sinh_ size slogdet "
        "sort sparse_dim sqrt sqrt_ square square_ squeeze squeeze_ std storage_offset "
        "stride sum svd t t_ tan tan_ tanh tanh_ to to_mkldnn to_sparse to_sparse_coo "
        "to_sparse_csc to_sparse_csr tolist trace tril tril_ triu triu_ trunc trunc_ "
        "unbind uniform_ unique unique_consecutive var volatile zero_"
    ),
    (0, 1): (
        "add add_ allclose arctan2 arctan2_ atan2 atan2_ cholesky_solve clamp clamp_ "
        "clamp_max clamp_max_ clamp_min clamp_min_ clip clip_ copy_ copysign copysign_ "
        "cross dist div div_ divide divide_ eq eq_ equal expand_as float_power "
        "floor_divide floor_divide_ fmax fmin fmod fmod_ ge ge_ greater greater_ "
        "greater_equal greater_equal_ gt gt_ heaviside heaviside_ hypot hypot_ igamma "
        "igamma_ igammac igammac_ inner is_same_size is_set_to isclose kron ldexp ldexp_ "
        "le le_ less less_ less_equal less_equal_ logaddexp logaddexp2 logical_and "
        "logical_and_ logical_or logical_or_ logical_xor logical_xor_ lt lt_ matmul "
        "maximum minimum mm mul mul_ multiply multiply_ ne ne_ nextafter nextafter_ "
        "not_equal not_equal_ pow pow_ remainder remainder_ reshape_as resize_as "
        "slice_inverse slice_scatter sub sub_ subtract subtract_ triangular_solve "
        "true_divide true_divide_ type_as view_as xlogy xlogy_"
    ),
    (0, 2): (
        "chunk fill_ fill_diagonal_ kthvalue matrix_power mvlgamma mvlgamma_ new_ones "
        "new_zeros polygamma polygamma_ repeat_interleave roll split tensor_split tile "
        "topk unsafe_chunk unsafe_split unsqueeze unsqueeze_"
    ),
    (0, 3): (
        "bernoulli cummax cummin cumprod cumprod_ cumsum cumsum_ flip log_softmax "
        "logcumsumexp logsumexp nanquantile quantile softmax"
    ),
    (0, 4): "geometric_",
    (0, 5): (
        "hsplit index moveaxis movedim permute repeat select swapaxes swapaxes_ swapdims "
        "swapdims_ transpose transpose_ vsplit"
    ),
    (0, 7): "masked_select",
    (0, 8): "addcdiv addcdiv_ addcmul addcmul_ addmm addmm_ lerp lerp_",
    (0, 9): "diagonal_scatter mv orgqr prelu",
    (0, 10): "addr addr_",
    (0, 13): "index_select",
    (0, 14): "index_fill index_fill_",
    (0, 15): "index_add index_add_ index_copy index_copy_",
    (0, 16): "index_reduce index_reduce_",
    (0, 17): "gather",
    (0, 18): "scatter scatter_ scatter_add scatter_add_",
    (0, 19): "scatter_reduce scatter_reduce_",
    (0, 20): "masked_fill masked_fill_ where",
    (0, 21): "masked_scatter masked_scatter_",
    (0, 22): "put put_",
    (0, 23): "index_put index_put_",
    (0, 24): "addbmm addbmm_ baddbmm",
    (0, 27): "broadcast_to expand reshape sum_to_size to_sparse_bsc to_sparse_bsr view",
    (0, 28): "resize",
    (0, 29): "as_strided as_strided_",
    (0, 31): "narrow narrow_copy unfold",
    (0, 32): "select_scatter",
    (0, 35): "renorm renorm_",
    (0, 38): "map_",
    (0, 39): "map2_",
    (0, 40): "apply_",
    (0, 46): "unflatten",
    (1, 1): "dot ger outer vdot",
    (1, 12): "addmv addmv_",
    (2, 0): "bitwise_not bitwise_not_",
    (2, 1): (
        "bitwise_and bitwise_and_ bitwise_left_shift bitwise_left_shift_ bitwise_or "
        "bitwise_or_ bitwise_right_shift bitwise_right_shift_ bitwise_xor bitwise_xor_ "
        "gcd gcd_ lcm lcm_ take take_along_dim"
    ),
    (3, 0): "cholesky",
    (5, 0): "imag",
    (5, 28): "istft stft",
    (6, 0): "is_nonzero item",
    (7, 1): "bmm",
    (7, 5): "dsplit",
    (7, 24): "baddbmm_",
    (7, 47): "split_with_sizes unsafe_split_with_sizes",
}
