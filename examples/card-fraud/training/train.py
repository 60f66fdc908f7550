"""Trains a small fraud model on a training set made by `millrace training-set`.

python3 train.py TRAINING.parquet [LABEL]

The newest fifth of the rows, by time, is held back: a model must be right about what comes later. Needs pandas, pyarrow and
scikit-learn: python3 -m pip install -r requirements.txt
"""

import sys

try:
    import pandas
    import pyarrow  # noqa: F401: pandas reads Parquet with it
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import average_precision_score, roc_auc_score
except ModuleNotFoundError as missing:
    sys.exit(f"there is no {missing.name} here: python3 -m pip install -r requirements.txt (beside this script)")

KEYS = ["transaction_id", "tx_datetime", "customer_id", "terminal_id"]


def main(file: str, label: str) -> None:
    try:
        rows = pandas.read_parquet(file)
    except FileNotFoundError:
        sys.exit(f"there is no file {file}")
    for name in ("tx_datetime", label):
        if name not in rows.columns:
            sys.exit(f"{file} has no column {name}; it has {', '.join(rows.columns)}")
    rows = rows.sort_values("tx_datetime")
    features = [name for name in rows.columns if name not in KEYS and name != label]
    held_back = max(1, len(rows) // 5)
    train, test = rows.iloc[:-held_back], rows.iloc[-held_back:]
    for name, part in (("training", train), ("held-back", test)):
        if part[label].nunique() < 2:
            sys.exit(f"all {len(part)} {name} rows have the same {label}: there is nothing to learn or to judge by")
    model = HistGradientBoostingClassifier(random_state=1)
    model.fit(train[features], train[label])
    score = model.predict_proba(test[features])[:, 1]
    print(f"{len(features)} features, {len(train)} rows to train on, {len(test)} to judge by")
    print(f"ROC AUC {roc_auc_score(test[label], score):.3f}")
    print(f"average precision {average_precision_score(test[label], score):.3f}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2] if len(sys.argv) == 3 else "is_fraud")
