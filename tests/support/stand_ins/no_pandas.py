# Only in the copy that the fast tests run: pyarrow looks for pandas once and imports it if it is there,
# which is half of the time of a job that needs none of it. Here it finds none.
import sys


class _NoPandas:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "pandas":
            raise ImportError(name)


sys.meta_path.insert(0, _NoPandas)
import pyarrow

pyarrow.array([0])
sys.meta_path.remove(_NoPandas)
