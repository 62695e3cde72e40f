"""The demo: a network of people who do not exist, to see the product at work without real data."""

from crm.demo.access import DemoAccess as DemoAccess
from crm.demo.access import access as access
from crm.demo.access import is_demo as is_demo
from crm.demo.access import may_listen_on as may_listen_on
from crm.demo.building import build as build
from crm.demo.building import is_empty as is_empty
