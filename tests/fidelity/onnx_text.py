"""Text for onnx.py: vectorisers of words, characters and n-grams, alone, in pipelines and beside numbers."""
import itertools

import numpy as np
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn import compose, decomposition, ensemble, linear_model, naive_bayes, pipeline, preprocessing
from sklearn.feature_extraction import FeatureHasher
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer, TfidfVectorizer

RNG = np.random.default_rng(11)
WORDS = "the quick brown fox jumps over a lazy dog while São Paulo's café, ÉTÉ naïve x1 y_2 and 3.5 \"said\" It Straße of ΑΒΓ".split()


# Letters that got a partner with Unicode 16, which C libraries in use do not know yet.
PAIRED_SINCE = (0x19B, 0x264)


def sentence():
    return " ".join(RNG.choice(WORDS, RNG.integers(1, 12))) + RNG.choice(["", ".", "!?", "  ", "\t-\n"])


TEXTS = np.array([sentence() for _ in range(200)], dtype=object)
TARGET = np.array(["fox" in text for text in TEXTS]).astype(int)
# An empty cell, one without a known word, one of white space, one far longer than the rest.
TEST = np.array([*TEXTS[:30], "", "zzz", " \n ", " ".join(TEXTS[:40]), "FOX fox-fox", "日本語 the fox", "#", "İstanbul"], dtype=object)


def vectorised(vectoriser, *final, target=TARGET, **options):
    def make():
        model = pipeline.make_pipeline(vectoriser, *final).fit(TEXTS, target)
        given = {id(vectoriser): options} if options else {}
        if hasattr(model, "predict_proba"):
            given[id(model)] = {"zipmap": False}
        onnx = to_onnx(model, initial_types=[("X", StringTensorType([None, 1]))], options=given)
        return onnx.SerializeToString(), {"X": TEST.reshape(-1, 1)}

    return make


def beside_numbers(*final):
    def make():
        import pandas

        size = RNG.normal(size=(len(TEXTS), 2)).astype(np.float32)
        frame = pandas.DataFrame({"title": TEXTS, "a": size[:, 0], "b": size[:, 1], "body": TEXTS[::-1]})
        steps = compose.ColumnTransformer(
            [("title", TfidfVectorizer(ngram_range=(1, 2)), "title"), ("number", preprocessing.StandardScaler(), ["a", "b"]), ("body", CountVectorizer(), "body")]
        )
        model = pipeline.make_pipeline(steps, *final).fit(frame, TARGET)
        kinds = {"title": StringTensorType, "a": FloatTensorType, "b": FloatTensorType, "body": StringTensorType}
        options = {id(model): {"zipmap": False}} if hasattr(final[-1], "predict_proba") else {}
        onnx = to_onnx(model, initial_types=[(key, kind([None, 1])) for key, kind in kinds.items()], options=options)
        rows = len(TEST)
        return onnx.SerializeToString(), {"title": TEST.reshape(-1, 1), "a": size[:rows, :1], "b": size[:rows, 1:], "body": TEST[::-1].reshape(-1, 1)}

    return make


def two_columns():
    """Without lower case no operator flattens what comes: a matrix of texts."""
    model = CountVectorizer(lowercase=False).fit(TEXTS)
    onnx = to_onnx(model, initial_types=[("X", StringTensorType([None, 1]))])
    return onnx.SerializeToString(), {"X": TEST.reshape(-1, 1)}


def hashed(**parameters):
    def make():
        words = RNG.choice(WORDS + [""], (40, 3)).astype(object)
        model = FeatureHasher(16, input_type="string", **parameters).fit(words)
        onnx = to_onnx(model, initial_types=[("X", StringTensorType([None, 3]))])
        return onnx.SerializeToString(), {"X": words}

    return make


def by_hand(operator, kind=TensorProto.FLOAT, texts=TEST, columns=1, opset=20, domain="", behind=(), **attributes):
    """One operator on a column of texts, flattened; a model of a few operators behind it."""

    def make():
        flat = np.array([-1], dtype=np.int64)
        from onnx import numpy_helper

        nodes = [
            helper.make_node("Reshape", ["X", "flat"], ["texts"]),
            helper.make_node(operator, ["texts"], ["made"], domain=domain, **attributes),
            *behind,
        ]
        last = behind[-1].output[0] if behind else "made"
        graph = helper.make_graph(
            nodes,
            "text",
            [helper.make_tensor_value_info("X", TensorProto.STRING, ["N", columns])],
            [helper.make_tensor_value_info(last, kind, None)],
            [numpy_helper.from_array(flat, "flat")],
        )
        sets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=sets, ir_version=9).SerializeToString(), {"X": texts.reshape(-1, columns)}

    return make


def counted(opset=20, **tokens):
    """How often each short token occurs, which is what can be seen of tokens from outside."""
    pool = ["#", "\x02", "\x03", *WORDS, *"abcdefgé ,.", "fo", "FOX", "fox-fox", "x1"]
    pool = list(dict.fromkeys(pool))
    pairs = list(itertools.islice(itertools.permutations(["the", "fox", "a", "dog", "o", "x", "\x02", "\x03", "#"], 2), 60))
    grams = helper.make_node(
        "TfIdfVectorizer", ["made"], ["grams"], mode="TF", min_gram_length=1, max_gram_length=2, max_skip_count=1,
        pool_strings=[*pool, *itertools.chain(*pairs)], ngram_counts=[0, len(pool)], ngram_indexes=list(range(len(pool) + len(pairs))),
    )
    return by_hand("Tokenizer", domain="com.microsoft", opset=opset, behind=[grams], **{"mark": 0, "pad_value": "#", "mincharnum": 1, **tokens})


def grams(mode, **attributes):
    pool = ["the", "fox", "a", "the", "quick", "quick", "brown", "the", "quick", "brown"]
    tokenizer = {"domain": "com.microsoft", "mark": 0, "pad_value": "#", "mincharnum": 1, "tokenexp": "[a-z]+"}
    attributes = {"min_gram_length": 1, "max_gram_length": 3, "max_skip_count": 0, "ngram_counts": [0, 3, 7], "ngram_indexes": [7, 0, 3, 2, 2, 5], "pool_strings": pool, **attributes}
    return by_hand("Tokenizer", behind=[helper.make_node("TfIdfVectorizer", ["made"], ["grams"], mode=mode, **attributes)], **tokenizer)


def cases():
    lm = linear_model
    yield "text-count", vectorised(CountVectorizer())
    yield "text-count-binary", vectorised(CountVectorizer(binary=True))
    yield "text-count-logistic", vectorised(CountVectorizer(), lm.LogisticRegression())
    yield "text-count-bayes", vectorised(CountVectorizer(), naive_bayes.MultinomialNB())
    yield "text-count-pairs", vectorised(CountVectorizer(ngram_range=(2, 2)), lm.LogisticRegression())
    yield "text-count-stop-words", vectorised(CountVectorizer(stop_words=["the", "a", "over"]), lm.LogisticRegression())
    yield "text-count-few", vectorised(CountVectorizer(max_features=6, min_df=2), lm.SGDClassifier(random_state=0))
    yield "text-count-case", two_columns
    yield "text-count-pattern", vectorised(CountVectorizer(token_pattern="[a-zA-Z]+"), lm.LogisticRegression())
    yield "text-count-characters", vectorised(CountVectorizer(analyzer="char"), lm.LogisticRegression())
    yield "text-count-characters-3", vectorised(CountVectorizer(analyzer="char", ngram_range=(1, 3)), lm.LogisticRegression())
    yield "text-count-separators", vectorised(CountVectorizer(), lm.LogisticRegression(), separators=[" ", "[.]", "\\?", ",", ";", ":", "\\!", "\\n", "\\\""])
    yield "text-count-keep-empty", vectorised(CountVectorizer(), lm.LogisticRegression(), keep_empty_string=True)
    yield "text-tfidf", vectorised(TfidfVectorizer())
    yield "text-tfidf-logistic", vectorised(TfidfVectorizer(), lm.LogisticRegression())
    yield "text-tfidf-l1", vectorised(TfidfVectorizer(norm="l1"), lm.LogisticRegression())
    yield "text-tfidf-no-norm", vectorised(TfidfVectorizer(norm=None), lm.LogisticRegression())
    yield "text-tfidf-no-idf", vectorised(TfidfVectorizer(use_idf=False), lm.LogisticRegression())
    yield "text-tfidf-sublinear", vectorised(TfidfVectorizer(sublinear_tf=True), lm.LogisticRegression())
    yield "text-tfidf-grams", vectorised(TfidfVectorizer(ngram_range=(1, 3), stop_words="english"), lm.LogisticRegression())
    yield "text-tfidf-characters", vectorised(TfidfVectorizer(analyzer="char", ngram_range=(1, 2)), lm.LogisticRegression())
    yield "text-tfidf-expression", vectorised(TfidfVectorizer(), lm.LogisticRegression(), tokenexp="\\w+")
    yield "text-tfidf-locale", vectorised(TfidfVectorizer(), lm.LogisticRegression(), locale="C")
    yield "text-tfidf-svd", vectorised(TfidfVectorizer(), decomposition.TruncatedSVD(4, random_state=0))
    yield "text-tfidf-forest", vectorised(TfidfVectorizer(), ensemble.RandomForestClassifier(10, random_state=0))
    yield "text-tfidf-two-steps", vectorised(CountVectorizer(), TfidfTransformer(), lm.Ridge())
    yield "text-columns-logistic", beside_numbers(lm.LogisticRegression())
    yield "text-columns-forest", beside_numbers(ensemble.RandomForestClassifier(10, random_state=0))
    yield "text-hasher", hashed()
    yield "text-hasher-one-sign", hashed(alternate_sign=False)
    for name, tokens in {
        "word": {"tokenexp": "[a-zA-Z0-9_]+"},
        "marked": {"tokenexp": "[a-zA-Z0-9_]+", "mark": 1},
        "long": {"tokenexp": "[a-z]+", "mincharnum": 3},
        "border": {"tokenexp": "\\b\\w\\w+\\b"},
        "longest": {"tokenexp": "f|fo|fox|fox-fox|th|the"},
        "maybe-nothing": {"tokenexp": "[a-z]*"},
        "unicode": {"tokenexp": "\\pL+"},
        "not-space": {"tokenexp": "[^\\s]+"},
        "folded": {"tokenexp": "(?i)fox|été|straße"},
        "ends": {"tokenexp": "^\\w+|\\w+$"},
        "characters": {"tokenexp": ".", "mark": 1},
        "characters-too": {"separators": [""]},
        "separators": {"separators": [" ", ","], "mark": 1},
        "separators-long": {"separators": ["\\s+", "[[:punct:]]", "x|x1"], "mincharnum": 2},
        "separators-longest": {"separators": ["o|ox|ov"]},
    }.items():
        yield f"tokens-{name}", counted(**tokens)
    yield "grams-tf", grams("TF")
    yield "grams-idf", grams("IDF", weights=[0.3, 2.0, -1.5, 0.7, 1.1, 9.0])
    yield "grams-tfidf", grams("TFIDF", weights=[0.3, 2.0, -1.5, 0.7, 1.1, 9.0])
    yield "grams-idf-plain", grams("IDF")
    yield "grams-skips", grams("TF", max_skip_count=4, min_gram_length=2)
    text = TensorProto.STRING
    for case in ("LOWER", "UPPER", "NONE"):
        letters = np.array([chr(code) for code in range(33, 0x3000) if chr(code).isalpha() and code not in PAIRED_SINCE] + [*TEST], dtype=object)
        yield f"text-normal-{case.lower()}", by_hand("StringNormalizer", text, letters, case_change_action=case, is_case_sensitive=0)
    yield "text-match", by_hand("RegexFullMatch", TensorProto.BOOL, pattern="(the|fox|a|\\s)*[^x]*")
