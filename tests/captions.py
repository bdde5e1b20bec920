"""Captions that tests learn their tokenizers from."""

CAPTIONS = (
    "a cat walking on the beach at sunset, a tabby cat with green eyes looking at the camera, "
    "two cyclists riding bikes through the city in the rain, a man on a bike in the snow, "
    "a photo of a dog running over the grass, a red fox moves to the left over a green background"
)
