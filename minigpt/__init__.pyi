from minigpt import ops as ops
from minigpt.cache import KVCache as KVCache
from minigpt.config import GPT2Config as GPT2Config
from minigpt.generation.options import GenerationConfig as GenerationConfig
from minigpt.generation.text import generate_text as generate_text
from minigpt.gpt2 import GPT2 as GPT2
from minigpt.looking.stepping import step as step
from minigpt.run import ContextLengthError as ContextLengthError
from minigpt.tokenizer import Tokenizer as Tokenizer
from minigpt.trace import Trace as Trace
from weights_loader.reading import CheckpointError as CheckpointError

__version__: str
