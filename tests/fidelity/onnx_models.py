"""The models that onnx.py compares: each case makes a serialised graph and the arrays to feed it."""
import numpy as np
from sklearn import (
    calibration, cluster, compose, cross_decomposition, decomposition, discriminant_analysis, ensemble, feature_extraction,
    feature_selection, gaussian_process, impute, linear_model, mixture, multiclass, multioutput, naive_bayes, neighbors,
    neural_network, pipeline, preprocessing, svm, tree,
)
from sklearn.datasets import make_classification
from skl2onnx import to_onnx
from skl2onnx.common.data_types import DictionaryType, DoubleTensorType, FloatTensorType, Int64TensorType, StringTensorType

ROWS = 300
X, Y = make_classification(ROWS, 8, n_informative=5, n_classes=3, random_state=0)
X = X.astype(np.float32)
BINARY = (Y > 0).astype(int)
MOSTLY = (np.arange(ROWS) >= 12).astype(int)
NUMBER = (X[:, 0] * 2 + np.sin(X[:, 1] * 3) + 3).astype(np.float32)
POSITIVE = np.abs(X)
TWO = np.c_[NUMBER, NUMBER * X[:, 2]]
WORDS = np.array(["low", "middle", "high, \"quoted\""])[Y]
TEST = np.ascontiguousarray(X[:60])


def converted(estimator, target, x=X, dtype=np.float32, test=None, zipmap=None, **more):
    def make():
        estimator.fit(x, target) if target is not None else estimator.fit(x)
        options = dict(more.pop("options", {}))
        if zipmap is not None:
            options["zipmap"] = zipmap
        given = {"options": {id(estimator): options}} if options else {}
        model = to_onnx(estimator, x[:1].astype(dtype), **given, **more)
        rows = (TEST if test is None else test).astype(dtype)
        return model.SerializeToString(), {"X": rows}

    return make


def table():
    rng = np.random.default_rng(1)
    n = ROWS
    return {
        "age": rng.normal(40, 12, (n, 1)).astype(np.float32),
        "city": rng.choice(["Rome", "Oslo", "São Paulo", "Bonn"], (n, 1)).astype(object),
        "income": np.where(rng.random((n, 1)) < 0.2, np.nan, rng.lognormal(3, 1, (n, 1))).astype(np.float32),
        "plan": rng.choice(["a", "b", "with, comma"], (n, 1)).astype(object),
        "visits": rng.integers(0, 20, (n, 1)).astype(np.int64),
    }


def mixed(final, unknown="ignore", zipmap=False, words=False):
    def make():
        import pandas

        data = table()
        frame = pandas.DataFrame({key: value[:, 0] for key, value in data.items()})
        target = ((frame.age > 40).astype(int) + (frame.city == "Oslo")).clip(0, 1).to_numpy()
        target = np.array(["no", "yes"])[target] if words else target
        filled = pipeline.make_pipeline(impute.SimpleImputer(), preprocessing.StandardScaler())
        steps = compose.ColumnTransformer(
            [("number", filled, ["age", "income"]), ("text", preprocessing.OneHotEncoder(handle_unknown=unknown), ["city", "plan"]), ("count", preprocessing.StandardScaler(), ["visits"])]
        )
        model = pipeline.Pipeline([("columns", steps), ("final", final)]).fit(frame, target)
        kinds = {"age": FloatTensorType, "city": StringTensorType, "income": FloatTensorType, "plan": StringTensorType, "visits": Int64TensorType}
        options = {id(model): {"zipmap": zipmap}} if hasattr(final, "predict_proba") else {}
        onnx = to_onnx(model, initial_types=[(key, kind([None, 1])) for key, kind in kinds.items()], options=options)
        feeds = {key: value[:50].copy() for key, value in data.items()}
        if unknown == "ignore":
            feeds["city"][0, 0] = "nowhere"
        return onnx.SerializeToString(), feeds

    return make


def ordinal():
    data = table()
    text = np.hstack([data["city"], data["plan"]])
    model = pipeline.make_pipeline(preprocessing.OrdinalEncoder(), tree.DecisionTreeClassifier(max_depth=4)).fit(text, (data["age"] > 40).astype(int)[:, 0])
    onnx = to_onnx(model, initial_types=[("X", StringTensorType([None, 2]))], options={"zipmap": False})
    return onnx.SerializeToString(), {"X": text[:40]}


def encoder(estimator):
    def make():
        data = table()
        text = np.hstack([data["city"], data["plan"]])
        estimator.fit(text)
        return to_onnx(estimator, initial_types=[("X", StringTensorType([None, 2]))]).SerializeToString(), {"X": text[:40]}

    return make


def blanks():
    """Text as pandas reads it out of UCI's census table, where every comma is followed by a blank."""
    import io

    import pandas

    lines = ["39, State-gov, Never-married ", "50, Self-emp, Married", "38, Private, Divorced ", "53, Private,Married", "28,Private,\tMarried"]
    frame = pandas.read_csv(io.StringIO("\n".join(lines * 8)), header=None, names=["age", "work", "status"])
    steps = compose.ColumnTransformer([("text", preprocessing.OneHotEncoder(), ["work", "status"]), ("age", "passthrough", ["age"])])
    model = pipeline.make_pipeline(steps, tree.DecisionTreeClassifier(max_depth=4)).fit(frame, (frame.work == " Private") * 2 + (frame.status == "Married"))
    kinds = {"age": FloatTensorType, "work": StringTensorType, "status": StringTensorType}
    onnx = to_onnx(model, initial_types=[(key, kind([None, 1])) for key, kind in kinds.items()], options={"zipmap": False})
    feeds = {"age": frame[["age"]].to_numpy(np.float32), "work": frame[["work"]].to_numpy(object), "status": frame[["status"]].to_numpy(object)}
    return onnx.SerializeToString(), {key: value[:10] for key, value in feeds.items()}


def whole_numbers():
    values = np.random.default_rng(2).integers(0, 6, (ROWS, 3)).astype(np.int64)
    model = preprocessing.OneHotEncoder(handle_unknown="ignore").fit(values)
    return to_onnx(model, initial_types=[("X", Int64TensorType([None, 3]))]).SerializeToString(), {"X": values[:40]}


def boosted(kind, target, missing=False, **parameters):
    def make():
        import lightgbm
        import xgboost
        from onnxmltools import convert_lightgbm, convert_xgboost
        from onnxmltools.convert.common.data_types import FloatTensorType as Floats

        x = X.copy()
        if missing:
            x[np.random.default_rng(3).random(x.shape) < 0.1] = np.nan
        types = [("X", Floats([None, X.shape[1]]))]
        test = x[:60]
        if kind.startswith("XGB"):
            model = getattr(xgboost, kind)(**{"n_estimators": 20, "max_depth": 4, **parameters}).fit(x, target)
            return convert_xgboost(model, initial_types=types).SerializeToString(), {"X": test}
        model = getattr(lightgbm, kind)(**{"n_estimators": 20, "verbose": -1, **parameters}).fit(x, target)
        more = {"zipmap": False} if "Classifier" in kind else {}
        return convert_lightgbm(model, initial_types=types, **more).SerializeToString(), {"X": test}

    return make


def boosted_categories(kind, **parameters):
    """Sets of categories, which the exporter writes as chains of equalities that meet in one node."""

    def make():
        import lightgbm
        import pandas
        import xgboost
        from onnxmltools import convert_lightgbm, convert_xgboost
        from onnxmltools.convert.common.data_types import FloatTensorType as Floats

        values = X[:, :4].copy()
        values[:, 3] = np.random.default_rng(8).integers(0, 9, ROWS)
        frame = pandas.DataFrame(values, columns=["f0", "f1", "f2", "f3"])
        frame["f3"] = frame["f3"].astype(int).astype("category")
        target = NUMBER + np.array([3, -1, 2, -2, 0, 1, -3, 2, -1])[values[:, 3].astype(int)]
        model = getattr({"XGB": xgboost, "LGB": lightgbm}[kind[:3]], kind)(n_estimators=12, n_jobs=1, **parameters).fit(frame, target)
        convert = convert_xgboost if kind.startswith("XGB") else convert_lightgbm
        onnx = convert(model, initial_types=[("X", Floats([None, 4]))])
        node = next(node for node in onnx.graph.node if node.op_type == "TreeEnsembleRegressor")
        lists = {a.name: a for a in node.attribute}
        splits = [i for i, mode in enumerate(lists["nodes_modes"].strings) if mode != b"LEAF"]
        trees = lists["nodes_treeids"].ints
        children = [(trees[i], lists[name].ints[i]) for i in splits for name in ("nodes_truenodeids", "nodes_falsenodeids")]
        assert len(set(children)) < len(children), "no node is shared any more"
        return onnx.SerializeToString(), {"X": values[:60]}

    return make


def gaussian_classes(kernel):
    """onnxruntime lacks an operator of this one, so it is compared with scikit-learn itself."""

    def make():
        model = gaussian_process.GaussianProcessClassifier(kernel).fit(X.astype(np.float64), BINARY)
        onnx = to_onnx(model, X[:1].astype(np.float64), options={id(model): {"zipmap": False}})
        return onnx.SerializeToString(), {"X": TEST.astype(np.float64)}, lambda given: [("label", model.predict(given["X"])), ("probabilities", model.predict_proba(given["X"]))]

    return make


def unlike(estimator, target, x=X, test=TEST, dtype=np.float64, **more):
    """What onnxruntime does not run, though its operators are its own: compared with scikit-learn itself."""

    def make():
        given = {} if target is None else {"y": target}
        model = estimator.fit(x.astype(dtype), **given)
        onnx = to_onnx(model, x[:1].astype(dtype), **more)

        def answer(feeds):
            rows = feeds["X"]
            if hasattr(model, "predict_proba"):
                return [("label", model.predict(rows)), ("probabilities", model.predict_proba(rows))]
            return [("variable", model.predict(rows) if target is not None else model.transform(rows))]

        return onnx.SerializeToString(), {"X": test.astype(dtype)}, answer

    return make


def codes():
    """Codes of categories as numbers, of which some are missing and some were never seen."""
    rng = np.random.default_rng(6)
    seen = rng.integers(0, 4, (ROWS, 2)).astype(np.float32)
    steps = pipeline.make_pipeline(preprocessing.OneHotEncoder(handle_unknown="ignore"), linear_model.LogisticRegression())
    model = steps.fit(seen, (seen[:, 0] == 0).astype(int) + (seen[:, 1] == 2))
    asked = np.array([[0, 1], [np.nan, 1], [2, np.nan], [np.nan, np.nan], [9, 0], [3, 2], [1e20, 3]], dtype=np.float32)
    return to_onnx(model, seen[:1], options={id(model): {"zipmap": False}}).SerializeToString(), {"X": asked}


def dictionaries():
    """Words and their numbers: a column for each word here, a map for each row there, without what is nought."""
    rng = np.random.default_rng(7)
    table = [{"rooms": float(rng.integers(1, 6)), f"city={rng.choice(['Rome', 'Oslo'])}": 1.0, "age": float(rng.normal(40, 9))} for _ in range(ROWS)]
    model = pipeline.make_pipeline(feature_extraction.DictVectorizer(sparse=False), linear_model.LogisticRegression(max_iter=500))
    model.fit(table, [int(row["rooms"] > 3) for row in table])
    kind = DictionaryType(StringTensorType([1]), FloatTensorType([1]))
    onnx = to_onnx(model, initial_types=[("X", kind)], options={id(model): {"zipmap": False}}).SerializeToString()
    words = list(model[0].feature_names_)
    rows = model[0].transform(table[:40]).astype(np.float32)

    def answer(given):
        import onnxruntime

        session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
        found = [session.run(None, {"X": {word: float(x) for word, x in zip(words, row) if x}}) for row in given["X"]]
        return [("label", np.concatenate([label for label, _ in found])), ("probabilities", np.concatenate([shares for _, shares in found]))]

    return onnx, {"X": rows}, answer


def missing():
    x = X.copy()
    x[np.random.default_rng(4).random(x.shape) < 0.2] = np.nan
    return x


def cases():
    lm, en, nb, de, pp = linear_model, ensemble, neighbors, decomposition, preprocessing
    off = False
    yield "logistic-binary", converted(lm.LogisticRegression(), BINARY, zipmap=off)
    yield "logistic-binary-zipmap", converted(lm.LogisticRegression(), BINARY)
    yield "logistic-3", converted(lm.LogisticRegression(), Y, zipmap=off)
    yield "logistic-3-double", converted(lm.LogisticRegression(), Y, dtype=np.float64, zipmap=off)
    yield "logistic-words-zipmap", converted(lm.LogisticRegression(), WORDS)
    yield "logistic-words", converted(lm.LogisticRegression(), WORDS, zipmap=off)
    yield "logistic-columns", converted(lm.LogisticRegression(), Y, zipmap="columns")
    yield "logistic-raw", converted(lm.LogisticRegression(), BINARY, options={"raw_scores": True}, zipmap=off)
    yield "sgd-log", converted(lm.SGDClassifier(loss="log_loss", random_state=0), Y, zipmap=off)
    yield "sgd-hinge", converted(lm.SGDClassifier(random_state=0), Y)
    yield "perceptron", converted(lm.Perceptron(), Y)
    yield "ridge-classifier", converted(lm.RidgeClassifier(), Y)
    yield "linear-svc", converted(svm.LinearSVC(), BINARY)
    yield "linear-svc-3", converted(svm.LinearSVC(), Y)
    yield "svc-rbf-binary", converted(svm.SVC(), BINARY)
    yield "svc-rbf-3", converted(svm.SVC(), Y)
    yield "svc-probability", converted(svm.SVC(probability=True, random_state=0), Y, zipmap=off)
    yield "svc-probability-binary", converted(svm.SVC(probability=True, random_state=0), BINARY, zipmap=off)
    yield "svc-poly-words", converted(svm.SVC(kernel="poly"), WORDS)
    yield "svc-sigmoid", converted(svm.SVC(kernel="sigmoid"), Y)
    yield "svc-linear", converted(svm.SVC(kernel="linear"), Y, test=X)
    yield "svc-linear-binary", converted(svm.SVC(kernel="linear"), BINARY, test=X)
    yield "nu-svc", converted(svm.NuSVC(), BINARY)
    yield "svr", converted(svm.SVR(), NUMBER)
    yield "svr-poly", converted(svm.SVR(kernel="poly"), NUMBER)
    yield "svr-linear", converted(svm.SVR(kernel="linear", C=0.01), NUMBER)
    yield "linear-svr", converted(svm.LinearSVR(), NUMBER)
    yield "one-class-svm", converted(svm.OneClassSVM(), None)
    yield "one-class-svm-linear", converted(svm.OneClassSVM(kernel="linear", nu=0.1), None, x=X + 3, test=TEST + np.float32(3.1))
    yield "linear-regression", converted(lm.LinearRegression(), NUMBER)
    yield "theil-sen-double", converted(lm.TheilSenRegressor(random_state=0), np.abs(NUMBER) + np.float32(0.1), dtype=np.float64)
    yield "linear-regression-2", converted(lm.LinearRegression(), TWO)
    yield "linear-regression-double", converted(lm.LinearRegression(), NUMBER, dtype=np.float64)
    yield "ridge", converted(pipeline.make_pipeline(pp.StandardScaler(), lm.Ridge()), NUMBER)
    yield "elastic-net", converted(lm.ElasticNet(0.1), NUMBER)
    yield "bayesian-ridge", converted(lm.BayesianRidge(), NUMBER)
    yield "huber", converted(lm.HuberRegressor(max_iter=500), NUMBER)
    yield "poisson", converted(lm.PoissonRegressor(), POSITIVE[:, 0], x=POSITIVE, test=POSITIVE[:40])
    yield "multi-task-lasso", converted(lm.MultiTaskLasso(0.1), TWO)
    yield "pls", converted(cross_decomposition.PLSRegression(), NUMBER)
    yield "decision-tree", converted(tree.DecisionTreeClassifier(max_depth=5), Y, zipmap=off)
    places = {"decision_leaf": True, "decision_path": True}
    yield "decision-tree-places", converted(tree.DecisionTreeClassifier(max_depth=5), Y, zipmap=off, options=places)
    yield "forest-3-places", converted(en.RandomForestClassifier(5, random_state=0), Y, zipmap=off, options=places)
    yield "logistic-with-labels", converted(lm.LogisticRegression(), WORDS, zipmap=off, options={"output_class_labels": True})
    yield "decision-tree-words", converted(tree.DecisionTreeClassifier(max_depth=5), WORDS)
    yield "decision-tree-regressor", converted(tree.DecisionTreeRegressor(max_depth=6), NUMBER)
    yield "forest-binary", converted(en.RandomForestClassifier(20, random_state=0), BINARY, zipmap=off)
    yield "forest-3", converted(en.RandomForestClassifier(20, random_state=0), Y, zipmap=off)
    yield "forest-1", unlike(en.RandomForestClassifier(5, random_state=0), np.full(ROWS, 7), dtype=np.float32, options={"zipmap": False})
    yield "extra-trees-1-words", unlike(en.ExtraTreesClassifier(5, random_state=0), np.full(ROWS, "one"), dtype=np.float32, options={"zipmap": False})
    yield "forest-3-double", converted(en.RandomForestClassifier(20, random_state=0), Y, dtype=np.float64, zipmap=off)
    yield "forest-regressor", converted(en.RandomForestRegressor(20, random_state=0), NUMBER)
    yield "forest-regressor-2", converted(en.RandomForestRegressor(20, random_state=0), TWO)
    yield "forest-regressor-double", unlike(en.RandomForestRegressor(20, random_state=0), NUMBER)
    yield "decision-tree-double", unlike(tree.DecisionTreeClassifier(max_depth=5), Y, options={"zipmap": False})
    yield "gradient-boosting-3-double", unlike(en.GradientBoostingClassifier(n_estimators=20), Y, options={"zipmap": False})
    yield "gradient-boosting-binary-double", unlike(en.GradientBoostingClassifier(n_estimators=20), BINARY, options={"zipmap": False})
    yield "gradient-boosting-3-from-zero", unlike(
        en.GradientBoostingClassifier(n_estimators=20, init="zero"), Y, dtype=np.float32, options={"zipmap": False},
    )
    yield "svr-double", unlike(svm.SVR(), NUMBER)
    yield "extra-trees", converted(en.ExtraTreesClassifier(20, random_state=0), Y)
    yield "gradient-boosting-binary", converted(en.GradientBoostingClassifier(n_estimators=20), BINARY, zipmap=off)
    yield "gradient-boosting-3", converted(en.GradientBoostingClassifier(n_estimators=20), Y, zipmap=off)
    yield "gradient-boosting-regressor", converted(en.GradientBoostingRegressor(n_estimators=20), NUMBER)
    yield "hist-gradient-boosting", converted(en.HistGradientBoostingClassifier(max_iter=10), Y, zipmap=off)
    yield "ada-boost", converted(en.AdaBoostClassifier(n_estimators=8), Y, zipmap=off)
    yield "ada-boost-regressor", converted(en.AdaBoostRegressor(n_estimators=8, random_state=0), NUMBER)
    yield "bagging", converted(en.BaggingClassifier(n_estimators=5, random_state=0), Y, zipmap=off)
    yield "bagging-regressor", converted(en.BaggingRegressor(n_estimators=5, random_state=0), NUMBER)
    yield "bagging-svc", converted(en.BaggingClassifier(svm.SVC(), n_estimators=3, random_state=0), Y, zipmap=off)
    yield "forest-of-two-targets", converted(en.RandomForestClassifier(5, random_state=0), np.c_[BINARY, Y], zipmap=off)
    yield "isolation-forest", converted(en.IsolationForest(n_estimators=10, random_state=0), None, target_opset={"": 18, "ai.onnx.ml": 3})
    pair = [("a", lm.LogisticRegression()), ("b", tree.DecisionTreeClassifier(max_depth=4))]
    yield "voting-soft", converted(en.VotingClassifier(pair, voting="soft", flatten_transform=False), Y, zipmap=off)
    yield "voting-hard", converted(en.VotingClassifier(pair, flatten_transform=False), Y)
    yield "voting-regressor", converted(en.VotingRegressor([("a", lm.LinearRegression()), ("b", tree.DecisionTreeRegressor(max_depth=4))]), NUMBER)
    yield "stacking", converted(en.StackingClassifier(pair), Y, zipmap=off)
    yield "stacking-regressor", converted(en.StackingRegressor([("a", lm.LinearRegression()), ("b", tree.DecisionTreeRegressor(max_depth=4))]), NUMBER)
    yield "knn", converted(nb.KNeighborsClassifier(), Y, zipmap=off)
    yield "knn-cdist", converted(nb.KNeighborsClassifier(), Y, zipmap=off, options={"optim": "cdist"})
    yield "knn-regressor", converted(nb.KNeighborsRegressor(), NUMBER)
    yield "knn-distance", converted(nb.KNeighborsRegressor(weights="distance"), NUMBER, test=TEST + np.float32(0.05))
    yield "radius-neighbors", converted(nb.RadiusNeighborsClassifier(radius=6.0), Y, zipmap=off)
    yield "local-outlier-factor", converted(nb.LocalOutlierFactor(novelty=True), None, test=TEST + np.float32(0.05))
    yield "gaussian-nb", converted(naive_bayes.GaussianNB(), Y, zipmap=off)
    yield "bernoulli-nb", converted(naive_bayes.BernoulliNB(), Y, zipmap=off)
    yield "multinomial-nb", converted(naive_bayes.MultinomialNB(), Y, x=POSITIVE, test=POSITIVE[:40], zipmap=off)
    yield "complement-nb", converted(naive_bayes.ComplementNB(), Y, x=POSITIVE, test=POSITIVE[:40], zipmap=off)
    yield "mlp", converted(neural_network.MLPClassifier((16, 8), max_iter=80, random_state=0), Y, zipmap=off)
    yield "mlp-binary-tanh", converted(neural_network.MLPClassifier((16,), activation="tanh", max_iter=80, random_state=0), BINARY, zipmap=off)
    yield "mlp-regressor", converted(neural_network.MLPRegressor(hidden_layer_sizes=(16,), activation="logistic", max_iter=80, random_state=0), NUMBER)
    yield "gaussian-process", converted(gaussian_process.GaussianProcessRegressor(gaussian_process.kernels.RBF() + gaussian_process.kernels.WhiteKernel()), NUMBER, dtype=np.float64)
    yield "gaussian-process-classifier", gaussian_classes(gaussian_process.kernels.RBF(2.0))
    yield "gaussian-process-classifier-default", gaussian_classes(None)
    yield "lda", converted(discriminant_analysis.LinearDiscriminantAnalysis(), Y, zipmap=off)
    yield "qda", converted(discriminant_analysis.QuadraticDiscriminantAnalysis(reg_param=0.1), Y, zipmap=off)
    yield "calibrated-sigmoid", converted(calibration.CalibratedClassifierCV(lm.LogisticRegression()), Y, zipmap=off)
    yield "calibrated-isotonic", converted(calibration.CalibratedClassifierCV(lm.LogisticRegression(), method="isotonic"), Y, zipmap=off)
    yield "one-vs-rest", converted(multiclass.OneVsRestClassifier(lm.LogisticRegression()), Y, zipmap=off)
    yield "one-vs-one-words", converted(multiclass.OneVsOneClassifier(lm.LogisticRegression()), WORDS, zipmap=off)
    yield "one-vs-one", converted(multiclass.OneVsOneClassifier(lm.LogisticRegression()), Y, zipmap=off)
    yield "multi-output-regressor", converted(multioutput.MultiOutputRegressor(lm.LinearRegression()), TWO)
    yield "multi-output-classifier", converted(multioutput.MultiOutputClassifier(lm.LogisticRegression()), np.c_[BINARY, Y])
    yield "standard-scaler", converted(pp.StandardScaler(), None)
    yield "standard-scaler-double", converted(pp.StandardScaler(), None, dtype=np.float64)
    yield "min-max-scaler", converted(pp.MinMaxScaler(clip=True), None)
    yield "max-abs-scaler", converted(pp.MaxAbsScaler(), None)
    yield "robust-scaler", converted(pp.RobustScaler(), None)
    yield "normalizer-l2", converted(pp.Normalizer(), None)
    yield "normalizer-l1", converted(pp.Normalizer("l1"), None)
    yield "normalizer-max", converted(pp.Normalizer("max"), None)
    yield "binarizer", converted(pp.Binarizer(threshold=0.3), None)
    yield "polynomial", converted(pp.PolynomialFeatures(3), None)
    yield "bins", converted(pp.KBinsDiscretizer(4, encode="onehot-dense"), None)
    yield "bins-ordinal", converted(pp.KBinsDiscretizer(4, encode="ordinal"), None)
    yield "quantile-transformer", converted(pp.QuantileTransformer(n_quantiles=20), None)
    yield "power-transformer", converted(pp.PowerTransformer(), None)
    yield "function-transformer", converted(pipeline.make_pipeline(pp.FunctionTransformer(), lm.Ridge()), NUMBER)
    yield "imputer", converted(impute.SimpleImputer(), None, x=missing(), test=missing()[:40])
    yield "imputer-double", unlike(impute.SimpleImputer(strategy="median"), None, x=missing(), test=missing()[:40])
    yield "knn-imputer", converted(impute.KNNImputer(n_neighbors=2), None, x=missing(), test=missing()[:40])
    for count in (1, 5):
        yield f"knn-imputer-{count}", converted(impute.KNNImputer(n_neighbors=count), None, x=missing(), test=missing()[:40])
    yield "knn-imputer-logistic", converted(pipeline.make_pipeline(impute.KNNImputer(), lm.LogisticRegression()), Y, x=missing(), test=missing()[:40])
    yield "pca", converted(de.PCA(3), None)
    yield "truncated-svd", converted(de.TruncatedSVD(3), None)
    yield "kernel-pca", converted(de.KernelPCA(3, kernel="rbf"), None)
    yield "incremental-pca", converted(de.IncrementalPCA(3), None)
    yield "k-means", converted(cluster.KMeans(3, random_state=0, n_init=2), None)
    yield "mini-batch-k-means", converted(cluster.MiniBatchKMeans(3, random_state=0, n_init=2), None)
    yield "gaussian-mixture", converted(mixture.GaussianMixture(3, random_state=0, covariance_type="diag"), None)
    yield "bayesian-mixture", converted(mixture.BayesianGaussianMixture(n_components=3, random_state=0), None, dtype=np.float64)
    yield "select-k-best", converted(pipeline.make_pipeline(feature_selection.SelectKBest(k=3), lm.LogisticRegression()), Y)
    yield "variance-threshold", converted(feature_selection.VarianceThreshold(0.1), None)
    yield "union", converted(pipeline.make_pipeline(pipeline.make_union(de.PCA(2), pp.StandardScaler()), en.RandomForestClassifier(10, random_state=0)), Y, zipmap=off)
    yield "neighborhood", converted(nb.NeighborhoodComponentsAnalysis(n_components=2, random_state=0), Y)
    yield "one-hot-text", encoder(pp.OneHotEncoder(handle_unknown="ignore"))
    yield "ordinal-text", encoder(pp.OrdinalEncoder())
    yield "text-with-blanks", blanks
    yield "one-hot-whole-numbers", whole_numbers
    yield "one-hot-codes", codes
    yield "dictionaries", dictionaries
    yield "ordinal-tree", ordinal
    yield "columns-logistic", mixed(lm.LogisticRegression())
    yield "columns-logistic-zipmap-words", mixed(lm.LogisticRegression(), zipmap=True, words=True)
    yield "columns-forest", mixed(en.RandomForestClassifier(10, random_state=0), unknown="error")
    yield "columns-svc", mixed(svm.SVC())
    yield "xgb-binary", boosted("XGBClassifier", BINARY)
    yield "xgb-3", boosted("XGBClassifier", Y)
    yield "xgb-regressor", boosted("XGBRegressor", NUMBER)
    yield "xgb-missing", boosted("XGBClassifier", BINARY, missing=True)
    yield "xgb-poisson", boosted("XGBRegressor", np.round(np.abs(NUMBER)), objective="count:poisson")
    # Of nearly one class: trees whose leaves are all positive.
    yield "xgb-positive", boosted("XGBClassifier", MOSTLY, n_estimators=3, base_score=0.5, max_depth=2)
    yield "lgb-positive", boosted("LGBMClassifier", MOSTLY, n_estimators=1)
    yield "lgb-binary", boosted("LGBMClassifier", BINARY)
    yield "lgb-3", boosted("LGBMClassifier", Y)
    yield "lgb-regressor", boosted("LGBMRegressor", NUMBER)
    yield "lgb-missing", boosted("LGBMRegressor", NUMBER, missing=True)
    yield "xgb-categories", boosted_categories("XGBRegressor", max_depth=4, enable_categorical=True, tree_method="hist")
    yield "lgb-categories", boosted_categories("LGBMRegressor", verbose=-1, min_data_per_group=3, cat_smooth=0.1)
    import onnx_hand
    import onnx_networks
    import onnx_text

    yield from onnx_networks.cases()
    yield from onnx_text.cases()
    yield from onnx_hand.cases()
