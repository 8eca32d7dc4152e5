"""scikit-learn and matplotlib take tensors, as they take torch's."""

import os

import numpy as np
import pytest

import cupola

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(80, 4))
CLASSES = (X[:, 0] + X[:, 1] > 0).astype(np.int64)
TARGETS = X @ np.array([1.0, -2.0, 0.5, 3.0])


def tensors(*arrays):
    return [cupola.tensor(a) for a in arrays]


CLASSIFIERS = [
    ("linear_model", "LogisticRegression", {}), ("svm", "SVC", {}),
    ("neighbors", "KNeighborsClassifier", {}),
    ("tree", "DecisionTreeClassifier", {"random_state": 0}),
    ("ensemble", "RandomForestClassifier", {"n_estimators": 5, "random_state": 0}),
    ("naive_bayes", "GaussianNB", {}), ("dummy", "DummyClassifier", {}),
]  # fmt: skip
REGRESSORS = [
    ("linear_model", "LinearRegression", {}), ("linear_model", "Ridge", {}), ("svm", "SVR", {}),
    ("ensemble", "HistGradientBoostingRegressor", {"max_iter": 5, "random_state": 0}),
    ("neighbors", "KNeighborsRegressor", {}),
]  # fmt: skip


def estimator(package, name, how):
    module = pytest.importorskip(f"sklearn.{package}")
    return getattr(module, name)(**how)


@pytest.mark.parametrize("which", CLASSIFIERS + REGRESSORS, ids=lambda w: w[1])
def test_fit_and_predict(which):
    y = CLASSES if which in CLASSIFIERS else TARGETS
    x_tensor, y_tensor = tensors(X, y)
    mine, other = estimator(*which).fit(x_tensor, y_tensor), estimator(*which).fit(X, y)
    np.testing.assert_allclose(mine.predict(x_tensor), other.predict(X), rtol=1e-9)
    assert mine.score(x_tensor, y_tensor) == pytest.approx(other.score(X, y))


def test_transformers():
    x = cupola.tensor(X)
    for which in (
        ("preprocessing", "StandardScaler", {}), ("decomposition", "PCA", {"n_components": 2}),
        ("preprocessing", "MinMaxScaler", {}), ("preprocessing", "PolynomialFeatures", {}),
    ):  # fmt: skip
        np.testing.assert_allclose(
            estimator(*which).fit_transform(x), estimator(*which).fit_transform(X), atol=1e-9
        )
    labels = estimator("cluster", "KMeans", {"n_clusters": 2, "random_state": 0, "n_init": 1})
    assert (labels.fit_predict(x) == labels.fit_predict(X)).all()


def test_pipelines_and_searches():
    pipeline = pytest.importorskip("sklearn.pipeline")
    selection = pytest.importorskip("sklearn.model_selection")
    steps = pipeline.make_pipeline(
        estimator("preprocessing", "StandardScaler", {}), estimator("linear_model", "Ridge", {})
    )
    x, y = tensors(X, TARGETS)
    np.testing.assert_allclose(
        selection.cross_val_score(steps, x, y, cv=3),
        selection.cross_val_score(steps, X, TARGETS, cv=3),
    )
    grid = selection.GridSearchCV(steps, {"ridge__alpha": [0.1, 1.0]}, cv=3).fit(x, y)
    assert grid.best_params_ == {"ridge__alpha": 0.1}


def test_splits():
    selection = pytest.importorskip("sklearn.model_selection")
    x, y = tensors(X, CLASSES)
    for stratify in (None, y):
        plain = None if stratify is None else CLASSES
        mine = selection.train_test_split(x, y, random_state=0, stratify=stratify)
        other = selection.train_test_split(X, CLASSES, random_state=0, stratify=plain)
        for m, o in zip(mine, other, strict=True):
            assert isinstance(m, cupola.Tensor)
            np.testing.assert_array_equal(m.numpy(), o)


def test_metrics():
    metrics = pytest.importorskip("sklearn.metrics")
    guess = (X[:, 0] > 0).astype(np.int64)
    for name in ("accuracy_score", "f1_score", "confusion_matrix", "roc_auc_score", "log_loss"):
        f = getattr(metrics, name)
        np.testing.assert_allclose(f(*tensors(CLASSES, guess)), f(CLASSES, guess))
    for name in ("mean_squared_error", "r2_score", "mean_absolute_error"):
        f = getattr(metrics, name)
        np.testing.assert_allclose(f(*tensors(TARGETS, X[:, 0])), f(TARGETS, X[:, 0]))
    x = cupola.tensor(X)
    np.testing.assert_allclose(metrics.pairwise_distances(x), metrics.pairwise_distances(X))


def test_the_array_api_of_scikit_learn():
    """With dispatch on, scikit-learn computes with the namespace and returns tensors."""
    sklearn = pytest.importorskip("sklearn")
    pytest.importorskip("array_api_compat")
    if os.environ.get("SCIPY_ARRAY_API") != "1":
        pytest.skip("scikit-learn asks for SCIPY_ARRAY_API=1 before scipy is imported")
    x = cupola.tensor(X)
    with sklearn.config_context(array_api_dispatch=True):
        out = estimator("preprocessing", "MinMaxScaler", {}).fit_transform(x)
        assert isinstance(out, cupola.Tensor)


def test_gradients_are_not_dropped_silently():
    linear = estimator("linear_model", "LinearRegression", {})
    with pytest.raises(RuntimeError, match="detach"):
        linear.fit(cupola.tensor(X, requires_grad=True), cupola.tensor(TARGETS))


# --- matplotlib


@pytest.fixture
def axes():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, found = pyplot.subplots()
    yield found
    figure.canvas.draw()
    pyplot.close(figure)


def test_lines_and_points(axes):
    t = cupola.linspace(0, 1, 5)
    (line,) = axes.plot(t, t * t)
    np.testing.assert_allclose(line.get_ydata(), t.numpy() ** 2)
    (line,) = axes.plot(t * 2)
    np.testing.assert_allclose(line.get_ydata(), 2 * t.numpy())
    points = axes.scatter(t, t + 1, c=t, s=t * 10)
    np.testing.assert_allclose(points.get_offsets()[:, 1], t.numpy() + 1)
    axes.fill_between(t, t, t * 2)
    axes.errorbar(t, t, yerr=t / 10)
    axes.step(t, t)
    axes.set_xlim(t[0], t[-1])
    axes.axhline(t[1])


def test_pictures(axes):
    picture = cupola.rand(4, 5)
    np.testing.assert_allclose(axes.imshow(picture).get_array(), picture.numpy())
    axes.imshow(cupola.rand(4, 5, 3))
    axes.imshow((cupola.rand(3, 4, 5) * 255).to(cupola.uint8).permute(1, 2, 0))
    axes.contour(picture)
    axes.pcolormesh(picture)


def test_bars(axes):
    t = cupola.tensor([1.0, 2.0, 4.0])
    counts, _, _ = axes.hist(cupola.tensor(X[:, 0]), bins=4)
    np.testing.assert_array_equal(counts, np.histogram(X[:, 0], bins=4)[0])
    assert [b.get_height() for b in axes.bar([0, 1, 2], t)] == [1.0, 2.0, 4.0]
    axes.bar(cupola.arange(3), t)
    axes.boxplot(cupola.tensor(X))
    axes.hist2d(*tensors(X[:, 0], X[:, 1]))


def test_what_requires_a_gradient_is_refused(axes):
    """With torch's own error."""
    torch = pytest.importorskip("torch")
    messages = set()
    for package in (cupola, torch):
        t = package.ones(3, requires_grad=True)
        for draw in (axes.plot, axes.hist, lambda v: axes.bar([0, 1, 2], v)):
            with pytest.raises(RuntimeError) as found:
                draw(t)
            messages.add(str(found.value))
    assert len(messages) == 1
