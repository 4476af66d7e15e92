"""Text to unit vectors.

| type                    | weights                                  | needs                  |
|-------------------------|------------------------------------------|------------------------|
| `minilm`                | all-MiniLM-L6-v2, int8 ONNX, 23 MB       | `export`, run once     |
| `onnx`                  | any, in a folder laid out like `minilm`  | the folder             |
| `hashed`                | none: hashed words and character n-grams | nothing                |
| `sentence_transformers` | any model by name or path                | the extra of that name |

Every encoder is deterministic and thread-safe, accepts any string, and encodes a text without
regard to the other texts of its batch. `python -m routers.encoders.export` builds `minilm`.
"""
