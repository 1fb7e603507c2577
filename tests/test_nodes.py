"""The table of nodes says what their schemas say."""

import asyncio

from x2v_quant.nodes import NODE_CLASS_MAPPINGS, X2VExtension


def test_nodes_stand_under_the_ids_of_their_schemas():
    assert {name: node.define_schema().node_id for name, node in NODE_CLASS_MAPPINGS.items()} == {
        name: name for name in NODE_CLASS_MAPPINGS
    }
    assert asyncio.run(X2VExtension().get_node_list()) == list(NODE_CLASS_MAPPINGS.values())
