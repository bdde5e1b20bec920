"""The preparation's vision models, tiny and with random weights, saved as their authors save the real ones.

Architectures, tokenizers and processors are transformers' own, so that all code but the learning is real. Weights are
drawn with a larger spread than for training where the answer would otherwise not depend on the picture.
"""

from pathlib import Path
from typing import Any

import pytest
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    BertTokenizer,
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    BlipImageProcessorPil,
    GPT2Tokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessorPil,
    GroundingDinoProcessor,
    Sam2VideoConfig,
    Sam2VideoModel,
    ViTImageProcessorPil,
)

torch = pytest.importorskip("torch")

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
TEXTS = [
    "Question: What is the fore-ground in the picture? Answer: a cat on a chair",
    "Question: How many cups of coffee are there? Answer: two, and a dog in a car",
]


def torchvision_loads() -> bool:
    """Whether there is a torchvision; one for another build of torch fails with a RuntimeError."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        return False
    return True


def spread(model: torch.nn.Module, scale: float, seed: int = 0) -> None:
    """Draw all matrices anew, so wide that different pictures give different answers."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                fan_in = parameter[0].numel()
                parameter.normal_(0, scale / fan_in**0.5, generator=generator)


def write_blip2(folder: Path, language_model: str = "opt") -> Path:
    """BLIP-2 with an OPT or a T5 language model, 32 x 32 pixels."""
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(
        TEXTS, vocab_size=400, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], show_progress=False
    )
    bpe.save_model(str(folder))
    special = {"bos_token": "</s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    tokenizer = GPT2Tokenizer(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), **special)
    processor = Blip2Processor(BlipImageProcessorPil(size={"height": 32, "width": 32}), tokenizer, num_query_tokens=4)
    ids = {"bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 1, "vocab_size": len(tokenizer)}
    texts: dict[str, dict[str, Any]] = {
        "opt": {
            "model_type": "opt",
            "hidden_size": 32,
            "word_embed_proj_dim": 32,
            "ffn_dim": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": 128,
        },
        "t5": {
            "model_type": "t5",
            "d_model": 32,
            "d_kv": 16,
            "d_ff": 32,
            "num_layers": 1,
            "num_heads": 2,
            "decoder_start_token_id": 1,
        },
    }
    vision = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    qformer = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = Blip2Config(
        vision_config=vision | {"image_size": 32, "patch_size": 16},
        qformer_config=qformer,
        text_config=texts[language_model] | ids,
        num_query_tokens=4,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    model = Blip2ForConditionalGeneration(config)
    spread(model, 2.0)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def bert_vocabulary() -> dict[str, int]:
    """Letters and pieces of words, with the special tokens where BERT has them: Grounding DINO knows them by number."""
    tokens = [f"[unused{index}]" for index in range(1100)]
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    for index, token in enumerate([*letters, *(f"##{letter}" for letter in letters), "cat", "coffee", "##s"]):
        tokens[110 + index] = token
    for index, token in {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"}.items():
        tokens[index] = token
    tokens[1012], tokens[1029] = ".", "?"
    return {token: index for index, token in enumerate(tokens)}


def write_grounding_dino(folder: Path) -> Path:
    """Grounding DINO with a shortest side of 64 pixels."""
    tokenizer = BertTokenizer(vocab=bert_vocabulary())
    image_processor = GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 128})
    layer = {"ffn_dim": 32, "layers": 2, "attention_heads": 2}
    config = GroundingDinoConfig(
        backbone_config={
            "model_type": "swin",
            "image_size": 64,
            "embed_dim": 8,
            "depths": [1, 1, 1, 1],
            "num_heads": [1, 1, 2, 2],
            "window_size": 4,
            "out_indices": [2, 3, 4],
        },
        text_config={
            "model_type": "bert",
            "vocab_size": 1100,
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
        },
        d_model=32,
        num_queries=20,
        **{f"{part}_{key}": value for part in ("encoder", "decoder") for key, value in layer.items()},
    )
    model = GroundingDinoForObjectDetection(config)
    spread(model, 1.0, seed=1)
    model.save_pretrained(folder)
    GroundingDinoProcessor(image_processor, tokenizer).save_pretrained(folder)
    return folder


def write_sam2(folder: Path, subject_seen: bool = True) -> Path:
    """SAM 2 video of 128 x 128 pixels, which remembers few frames; it sees a subject in all frames or in none."""
    config = Sam2VideoConfig(
        vision_config={
            "model_type": "sam2_vision_model",
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": 8,
                "image_size": [128, 128],
                "blocks_per_stage": [1, 1, 2, 1],
                "embed_dim_per_stage": [8, 16, 32, 64],
                "num_attention_heads_per_stage": [1, 1, 1, 1],
                "global_attention_blocks": [3],
                "window_size_per_stage": [8, 4, 4, 4],
            },
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
            "fpn_hidden_size": 128,
        },
        prompt_encoder_config={"hidden_size": 128, "image_size": 128, "mask_input_channels": 8},
        mask_decoder_config={"hidden_size": 128, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16},
        image_size=128,
        num_maskmem=3,
        max_object_pointers_in_encoder=4,
        memory_attention_hidden_size=128,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=32,
        memory_attention_rope_feat_sizes=[8, 8],
        memory_encoder_hidden_size=128,
        memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=128,
        memory_fuser_embed_dim=128,
        memory_fuser_intermediate_dim=32,
        memory_fuser_num_layers=1,
    )
    model = Sam2VideoModel(config)
    spread(model, 1.0, seed=4)
    with torch.no_grad():
        # Random weights lose sight of the subject in the second frame.
        model.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(20.0 if subject_seen else -20.0)
    model.save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 128, "width": 128}, resample=2, **IMAGENET).save_pretrained(folder)
    return folder


def write_sam3(folder: Path) -> Path:
    """SAM 3 video of 112 x 112 pixels, which remembers few frames."""
    from transformers import (
        CLIPTokenizer,
        Sam2VideoVideoProcessor,
        Sam3ImageProcessor,
        Sam3VideoConfig,
        Sam3VideoModel,
        Sam3VideoProcessor,
    )

    from magdiff_jax.tokenizer import learn_tokenizer
    from tests.captions import CAPTIONS

    vocabulary = learn_tokenizer([CAPTIONS], folder / "tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    layer = {"hidden_size": 128, "num_attention_heads": 2, "intermediate_size": 32}
    decoder = {"hidden_size": 128, "num_attention_heads": 2}
    vision = {
        "model_type": "sam3_vision_model",
        "backbone_config": {
            "model_type": "sam3_vit_model",
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 112,
            "pretrain_image_size": 56,
            "window_size": 4,
            "global_attn_indexes": [1],
        },
        "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
        "fpn_hidden_size": 128,
    }
    config = Sam3VideoConfig(
        detector_config={
            "model_type": "sam3",
            "vision_config": vision,
            "text_config": {
                "model_type": "clip_text_model",
                "vocab_size": vocabulary,
                "hidden_size": 32,
                "intermediate_size": 32,
                "projection_dim": 32,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "max_position_embeddings": 32,
            },
            "geometry_encoder_config": layer | {"num_layers": 1},
            "detr_encoder_config": layer | {"num_layers": 1},
            "detr_decoder_config": layer | {"num_layers": 1, "num_queries": 6},
            "mask_decoder_config": decoder,
        },
        tracker_config={
            "model_type": "sam3_tracker_video",
            "vision_config": vision,
            "prompt_encoder_config": {"hidden_size": 128, "image_size": 112, "mask_input_channels": 8},
            "mask_decoder_config": decoder | {"mlp_dim": 32, "iou_head_hidden_dim": 16},
            "image_size": 112,
            "num_maskmem": 3,
            "max_object_pointers_in_encoder": 4,
            "memory_attention_hidden_size": 128,
            "memory_attention_num_layers": 1,
            "memory_attention_feed_forward_hidden_size": 32,
            "memory_attention_rope_feat_sizes": [8, 8],
            "memory_encoder_hidden_size": 128,
            "mask_downsampler_embed_dim": 128,
            "memory_fuser_embed_dim": 128,
            "memory_fuser_intermediate_dim": 32,
            "memory_fuser_num_layers": 1,
        },
        low_res_mask_size=32,
        # Without the optional kernels of the model hub these steps are left out, with a warning.
        det_nms_thresh=0.0,
        fill_hole_area=0,
    )
    model = Sam3VideoModel(config)
    spread(model, 1.0, seed=3)
    model.save_pretrained(folder)
    size = {"height": 112, "width": 112}
    Sam3VideoProcessor(
        Sam3ImageProcessor(size=size, mask_size={"height": 32, "width": 32}),
        Sam2VideoVideoProcessor(size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3),
        tokenizer,
    ).save_pretrained(folder)
    return folder
