"""The manipulation check: does the model under test see the emotion that an image should have?"""

from emo_harness.rating.ask import Rated, rate_images
from emo_harness.rating.questions import QUESTIONS, RatingQuestion
from emo_harness.rating.result import RatingResult, rating_result

__all__ = ["QUESTIONS", "Rated", "RatingQuestion", "RatingResult", "rate_images", "rating_result"]
