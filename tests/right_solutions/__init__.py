"""Right solutions of every exercise, as differently as people write them. No check may call one of them wrong.

They stand by themselves, except for those that call what their exercise allows. Each exercise has a file of its name.
"""

import importlib
import pkgutil

RIGHT = {
    module.name: importlib.import_module(f"{__name__}.{module.name}").RIGHT for module in pkgutil.iter_modules(__path__)
}  # {name of an exercise: functions}
